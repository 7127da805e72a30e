//! Contracts: `name@version` → the file `contracts/name@version.{yaml,yml,json}`, compiled once.

use std::collections::BTreeMap;

use crate::{
    config::{
        report::{Problem, Problems, Severity},
        section::{Field, did_you_mean},
        source::{CONTRACTS, SourceFile, Sources},
    },
    contract::{Contract, Defect},
    plan::{ContractId, PlannedContract},
};

/// The contracts that arms name.
pub(super) struct Shelf<'a> {
    problems: &'a Problems,
    files: BTreeMap<&'a str, &'a SourceFile>,
    places: BTreeMap<&'a str, ContractId>,
    contracts: Vec<Option<PlannedContract>>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(sources: &'a Sources, problems: &'a Problems) -> Shelf<'a> {
        let mut files = BTreeMap::new();
        for file in sources.contracts() {
            let Some(name) = file.path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if let Some(earlier) = files.insert(name, file) {
                let message = format!("two files are the contract {name:?}; the other one is {}", earlier.name());
                problems.add_for_file(&file.name(), message, "keep one: the file's ending only tells its syntax");
            }
        }
        Shelf { problems, files, places: BTreeMap::new(), contracts: Vec::new() }
    }

    /// The contract that a field names.
    pub(super) fn contract(&mut self, field: &Field<'_>) -> Option<ContractId> {
        let name = field.text()?;
        let Some((&name, file)) = self.files.get_key_value(name) else {
            let hint = did_you_mean(name, self.files.keys().copied())
                .unwrap_or_else(|| format!("put it at {CONTRACTS}/{name}.yaml (or .yml or .json)"));
            field.refuse(format!("there is no contract {name:?}"), &hint);
            return None;
        };
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        let place = ContractId(self.contracts.len());
        self.places.insert(name, place);
        let contract = compiled(file, self.problems);
        self.contracts.push(contract.map(|contract| PlannedContract { name: name.to_owned(), contract }));
        Some(place)
    }

    /// All contracts that were named; `None` when one of them does not compile.
    pub(super) fn finish(self) -> Option<Vec<PlannedContract>> {
        self.contracts.into_iter().collect()
    }
}

fn compiled(file: &SourceFile, problems: &Problems) -> Option<Contract> {
    let file_name = file.path.file_name()?.to_str()?;
    match Contract::compile(file_name, &file.bytes) {
        Ok(contract) => Some(contract),
        Err(defects) => {
            for defect in defects {
                problems.add(Problem {
                    severity: Severity::Error,
                    file: file.name(),
                    line: defect.line.and_then(|line| usize::try_from(line).ok()),
                    column: defect.column.and_then(|column| usize::try_from(column).ok()),
                    // The pointer to the whole tells nothing beside the file.
                    key: defect.pointer.strip_suffix('#').unwrap_or(&defect.pointer).to_owned(),
                    message: defect.to_string(),
                    hint: defect.hint().or(Some(hint(&defect).to_owned())),
                });
            }
            None
        }
    }
}

/// What to do about a defect that says only what is wrong.
fn hint(defect: &Defect) -> &'static str {
    match defect.line {
        Some(_) => "correct the syntax there, or a line or two above",
        None => "correct it where the pointer leads: each part is a key or an index, and ~1 stands for \"/\"",
    }
}
