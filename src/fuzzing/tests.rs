use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::*;

/// Seeds that a target has at least: each of them reaches what the others do not.
const SEEDS_MIN: usize = 4;

/// Inputs for each target that no person has written; [`ROUNDS`] asks for more.
const ROUNDS_EACH: u64 = 800;

/// The variable that holds another number of rounds, for a long run without a fuzzer:
/// `WEIR_FUZZ_ROUNDS=100000 cargo test --lib fuzzing`.
const ROUNDS: &str = "WEIR_FUZZ_ROUNDS";

/// Another number here makes other inputs of the same seeds.
const RANDOM_SEED: &str = "WEIR_FUZZ_SEED";

/// What is put into inputs: it begins, ends and divides things.
const PIECES: [&[u8]; 24] = [
    b"\n--\n",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b"%",
    b"%00",
    b"{",
    b"}",
    b"[",
    b"]",
    b"/",
    b"-",
    b"0",
    b"9999999999999999999999",
    b"\xff",
    b"\xc2\x9b",
    b"\xce\xa3",
];

const NOTHING: [String; 0] = [];

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn listed(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The seeds of a target, in the order of their names.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = directory("corpus").join(name);
    listed(&directory).into_iter().map(|seed| (seed.clone(), fs::read(directory.join(seed)).unwrap())).collect()
}

/// Runs a target; tells of an input that it does not take.
fn check(name: &str, target: Target, seed: &str, input: &[u8]) -> Option<String> {
    let broken = catch_unwind(AssertUnwindSafe(|| target(input))).is_err();
    broken.then(|| format!("{name}, made of {seed}: {}", input.escape_ascii()))
}

/// One to four changes, each small.
fn mutated(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..rng.usize(1..5) {
        let (start, end) = (rng.usize(..=input.len()), rng.usize(..=input.len()));
        let (start, end) = (start.min(end), start.max(end).min(start.min(end) + 64));
        match rng.u8(..7) {
            0 if start < input.len() => input[start] ^= 1 << rng.u8(..8),
            1 if start < input.len() => input[start] = rng.u8(..),
            2 => drop(input.drain(start..end)),
            3 => input.extend_from_within(start..end),
            4 => drop(input.splice(start..start, PIECES[rng.usize(..PIECES.len())].iter().copied())),
            5 => {
                let from = rng.usize(..=other.len());
                let until = (from + rng.usize(..=32)).min(other.len());
                drop(input.splice(start..end, other[from..until].iter().copied()));
            }
            // Two halves of two seeds.
            _ => {
                input.truncate(start);
                input.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
        }
    }
    input
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn every_target_has_a_corpus_and_a_binary_and_there_are_no_others() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len(), "no name twice");
    assert!(TARGETS.is_sorted_by_key(|(name, _)| *name));
    assert_eq!(listed(&directory("corpus")), names);
    let files: BTreeSet<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(listed(&directory("fuzz_targets")), files);
    let manifest = fs::read_to_string(directory("Cargo.toml")).unwrap();
    let binaries: BTreeSet<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    assert_eq!(binaries, names.iter().map(String::as_str).collect());
    for name in names {
        let source = fs::read_to_string(directory("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(source.contains(&format!("weir::fuzzing::run(\"{name}\", input)")), "{name} runs another target");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        let seeds = corpus(&name).len();
        assert!(seeds >= SEEDS_MIN, "{name} has {seeds} seeds");
    }
}

#[test]
fn the_corpora_find_nothing() {
    let found = TARGETS.iter().flat_map(|(name, target)| {
        let seeds = corpus(name).into_iter().chain([("nothing".to_owned(), Vec::new())]);
        seeds.filter_map(|(seed, input)| check(name, *target, &seed, &input))
    });
    assert_eq!(found.collect::<Vec<_>>(), NOTHING);
}

#[test]
fn neither_do_inputs_that_are_made_of_them() {
    let rounds = number(ROUNDS).unwrap_or(ROUNDS_EACH);
    let found = TARGETS.iter().filter_map(|(name, target)| {
        let mut rng = Rng::with_seed(number(RANDOM_SEED).unwrap_or(0x7765_6972));
        let seeds = corpus(name);
        (0..rounds).find_map(|_| {
            let ((seed, input), (_, other)) = (&seeds[rng.usize(..seeds.len())], &seeds[rng.usize(..seeds.len())]);
            check(name, *target, seed, &mutated(&mut rng, input, other))
        })
    });
    assert_eq!(found.collect::<Vec<_>>(), NOTHING);
}
