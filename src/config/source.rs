//! Sources: the files of a configuration, as they were at one moment.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    attached::Attached,
    report::{Problems, Report},
};

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The folder beside the configuration that contracts are looked up in.
pub(super) const CONTRACTS: &str = "contracts";

/// How the names of settings end.
const SETTINGS: &str = ".toml";

/// How the names of files with flags in flagd's format end, which is one of [`DOCUMENTS`], too.
const FLAGS: &str = ".flagd.json";

/// How the names of contracts end.
const DOCUMENTS: &[&str] = &[".yaml", ".yml", ".json"];

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is, below the configuration as it was named.
    pub path: PathBuf,
    /// What it held.
    pub bytes: Arc<[u8]>,
}

/// All files of a configuration. Equal sources compile to equal plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    root: PathBuf,
    settings: Vec<SourceFile>,
    contracts: Vec<SourceFile>,
    flags: Vec<SourceFile>,
    attached: Attached,
}

impl SourceFile {
    /// The path as problems show it.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads one file; `None` when it cannot be read, which is told.
    pub(super) fn read(path: PathBuf, problems: &Problems) -> Option<SourceFile> {
        let read = || -> io::Result<Vec<u8>> {
            let about = fs::metadata(&path)?;
            // Opening a pipe would wait for whoever writes to it.
            if !about.is_file() {
                return Err(io::Error::other("it is no regular file"));
            }
            // And one byte more, to see that this was all.
            let expected = about.len().min(FILE_BYTES_MAX) + 1;
            let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
            fs::File::open(&path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let name = path.display().to_string();
        match read() {
            Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
                let message = format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20);
                problems.add_for_file(&name, message, "divide it into several files");
                None
            }
            Ok(bytes) => Some(SourceFile { path, bytes: bytes.into() }),
            Err(error) => {
                let hint = "check that the file exists and that weir's user may read it";
                problems.add_for_file(&name, format!("the file cannot be read: {error}"), hint);
                None
            }
        }
    }
}

impl Sources {
    /// Reads a TOML file, or every `*.toml` and `*.flagd.json` of a directory, and the contracts beside them. Names that
    /// start with a dot are passed over: Kubernetes keeps its `..data` there.
    ///
    /// # Errors
    /// Every file that cannot be read, or that nothing is there to read.
    pub fn read(config: &Path) -> Result<Sources, Report> {
        let problems = Problems::default();
        let sources = read_all(config, &problems);
        let report = problems.into_report();
        match sources {
            Some(sources) if report.errors() == 0 => Ok(sources),
            _ => Err(report),
        }
    }

    /// One file of this text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_text(text: &str) -> Sources {
        Sources::of_parts(text.as_bytes(), None, b"")
    }

    /// One file of settings, perhaps one of flags, and what every file holds that the settings name.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_parts(settings: &[u8], flags: Option<&[u8]>, attached: &[u8]) -> Sources {
        let file = |name: &str, bytes: &[u8]| SourceFile { path: name.into(), bytes: bytes.into() };
        let settings = vec![file("weir.toml", settings)];
        let attached = Attached::gather(&settings, &|_path| Ok(attached.into()));
        let flags = flags.map(|flags| file("app.flagd.json", flags)).into_iter().collect();
        Sources { root: PathBuf::new(), settings, contracts: Vec::new(), flags, attached }
    }

    /// The directory that the configuration's relative paths start from.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What problems of the configuration as a whole name: its only file, or its directory.
    #[must_use]
    pub fn name(&self) -> String {
        match &*self.settings {
            [file] => file.name(),
            _ => self.root.display().to_string(),
        }
    }

    /// The TOML files.
    #[must_use]
    pub fn settings(&self) -> &[SourceFile] {
        &self.settings
    }

    /// The contract files.
    #[must_use]
    pub fn contracts(&self) -> &[SourceFile] {
        &self.contracts
    }

    /// The files of flags as flagd defines them.
    #[must_use]
    pub fn flags(&self) -> &[SourceFile] {
        &self.flags
    }

    /// The files that the settings name.
    pub(super) fn attached(&self) -> &Attached {
        &self.attached
    }

    /// All files but the attached ones.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.settings.iter().chain(&self.contracts).chain(&self.flags)
    }
}

fn read_all(config: &Path, problems: &Problems) -> Option<Sources> {
    let name = config.display().to_string();
    let metadata = match fs::metadata(config) {
        Ok(metadata) => metadata,
        Err(error) => {
            let hint = "name a TOML file, or a directory that holds some, with --config";
            problems.add_for_file(&name, format!("the configuration cannot be read: {error}"), hint);
            return None;
        }
    };
    let (root, paths, flag_paths) = if metadata.is_dir() {
        let paths = listed(config, &[SETTINGS], problems);
        if paths.is_empty() {
            let hint =
                "put the configuration into files that end in .toml; `weir demo --keep` writes one to start from";
            problems.add_for_file(&name, "the directory holds no *.toml file".to_owned(), hint);
        }
        (config.to_owned(), paths, listed(config, &[FLAGS], problems))
    } else {
        (config.parent().unwrap_or(Path::new("")).to_owned(), vec![config.to_owned()], Vec::new())
    };
    let contracts = root.join(CONTRACTS);
    let contract_paths = if contracts.is_dir() { listed(&contracts, DOCUMENTS, problems) } else { Vec::new() };
    let read = |paths: Vec<PathBuf>| paths.into_iter().filter_map(|path| SourceFile::read(path, problems)).collect();
    let settings: Vec<SourceFile> = read(paths);
    let attached = Attached::read(&root, &settings);
    Some(Sources { settings, contracts: read(contract_paths), flags: read(flag_paths), attached, root })
}

fn listed(directory: &Path, endings: &[&str], problems: &Problems) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.unwrap_or_else(|error| {
        let name = directory.display().to_string();
        problems.add_for_file(&name, format!("the directory cannot be listed: {error}"), "check its permissions");
        Vec::new()
    });
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| is_named(path, endings));
    paths.sort();
    paths
}

/// Whether a file may be one of settings, flags or contracts, by its name.
pub(crate) fn is_source(path: &Path) -> bool {
    is_named(path, &[SETTINGS]) || is_named(path, DOCUMENTS)
}

/// What is nothing but an ending has no name, and starts with a dot.
fn is_named(path: &Path, endings: &[&str]) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| !name.starts_with('.') && endings.iter().any(|ending| name.ends_with(ending)))
}
