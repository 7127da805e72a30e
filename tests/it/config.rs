//! Configurations from files: what `weir check` says about them, word for word.

use std::{fmt::Write, fs, path::Path, time::Instant};

use proptest::prelude::*;
use weir::config::{Sources, compile};

use crate::command::{Folder, Ran, Weir, package};

/// The names in a folder of fixtures. A fixture is a `*.toml` file or a directory; the report that is
/// expected of `NAME.toml` or `NAME` is `NAME.txt`.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(package(folder)).expect("fixtures");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}

fn check(folder: &Path, name: &str) -> Ran {
    Weir::new("check").config(Path::new(name)).within(folder).run()
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".toml").unwrap_or(name)
}

/// Both texts, with a mark before each line that only one of them has.
fn difference(expected: &str, found: &str) -> String {
    let mut text = String::new();
    let missing = expected.lines().filter(|line| !found.lines().any(|other| other == *line));
    let surplus = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
    missing.for_each(|line| writeln!(text, "  - {line}").expect("a String takes all"));
    surplus.for_each(|line| writeln!(text, "  + {line}").expect("a String takes all"));
    if text.is_empty() { format!("the same lines in another order:\n{found}") } else { text }
}

/// What is wrong with one fixture of `invalid`; `None` when nothing is.
fn complaint(folder: &Path, name: &str) -> Option<String> {
    let path = folder.join(name);
    if path.is_dir() && fs::read_dir(&path).expect("a fixture").next().is_none() {
        return Some(format!("{name} is empty"));
    }
    let Ok(expected) = fs::read_to_string(folder.join(format!("{}.txt", stem(name)))) else {
        return Some(format!("{name} has no {}.txt beside it", stem(name)));
    };
    let Ran { code, stdout, stderr } = check(folder, name);
    if code != 1 || !stderr.is_empty() {
        return Some(format!("{name}: exit code {code}, not 1\n{stderr}"));
    }
    (stdout != expected).then(|| format!("{name}:\n{}", difference(&expected, &stdout)))
}

#[test]
fn every_invalid_configuration_gets_its_report() {
    let folder = package("tests/fixtures/invalid");
    let names = names("tests/fixtures/invalid");
    let (reports, fixtures): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.ends_with(".txt"));
    let mut complaints: Vec<String> = fixtures.iter().filter_map(|name| complaint(&folder, name)).collect();
    let orphans =
        reports.iter().filter(|report| !fixtures.iter().any(|name| report.strip_suffix(".txt") == Some(stem(name))));
    complaints.extend(orphans.map(|report| format!("{report} belongs to no fixture")));
    assert!(!fixtures.is_empty(), "there are no fixtures");
    assert!(
        complaints.is_empty(),
        "{} of {} differ (- expected, + found); where the found one is right:\n\
         (cd tests/fixtures/invalid && weir check --config NAME.toml > NAME.txt)\n\n{}",
        complaints.len(),
        fixtures.len(),
        complaints.join("\n")
    );
}

#[test]
fn a_fixture_without_report_or_with_another_one_is_found() {
    let folder = Folder::new(&[("a.toml", b""), ("b.toml", b""), ("b.txt", b"error: something else\n")]);
    fs::create_dir(folder.path().join("c")).unwrap();
    assert_eq!(complaint(folder.path(), "a.toml").as_deref(), Some("a.toml has no a.txt beside it"));
    let complaint_of_b = complaint(folder.path(), "b.toml").unwrap();
    assert!(
        complaint_of_b.starts_with("b.toml:\n  - error: something else\n  + error: there is no"),
        "{complaint_of_b}"
    );
    assert_eq!(complaint(folder.path(), "c").as_deref(), Some("c is empty"));
}

#[test]
fn every_valid_configuration_compiles_without_a_warning() {
    let names = names("tests/fixtures/valid");
    assert!(!names.is_empty(), "there are no fixtures");
    for name in names {
        let ran = check(&package("tests/fixtures/valid"), &name);
        assert!(ran.code == 0 && ran.stdout.starts_with("ok: "), "{name}: {ran:#?}");
    }
}

/// Checks what cannot stand in the repository, and gives the report with `DIR` for the folder.
fn report_of(files: &[(&str, &[u8])], name: &str) -> String {
    let folder = Folder::new(files);
    let ran = Weir::new("check").config(&folder.path().join(name)).run();
    assert_eq!(ran.code, 1, "{ran:#?}");
    ran.stdout.replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_the_line() {
    let report = report_of(&[("weir.toml", b"[weir]\n# caf\xe9\nworkers = 1\n")], "weir.toml");
    assert_eq!(
        report,
        "error: the file is not UTF-8 text\n  --> DIR/weir.toml:2\n  \
         hint: save it as UTF-8; TOML allows no other encoding\n\n1 error(s), 0 warning(s)\n"
    );
}

#[test]
fn an_empty_directory_is_refused() {
    let report = report_of(&[], "");
    assert!(report.starts_with("error: the directory holds no *.toml file\n  --> DIR"), "{report}");
    assert!(report.ends_with("\n\n1 error(s), 0 warning(s)\n"), "{report}");
}

#[test]
fn a_directory_of_dotfiles_is_an_empty_one() {
    let report = report_of(&[(".weir.toml", b"[weir]\n"), (".#weir.toml", b"="), ("weir.toml~", b"=")], "");
    assert!(report.starts_with("error: the directory holds no *.toml file\n  --> DIR"), "{report}");
}

#[test]
fn a_path_with_nothing_there_is_refused() {
    assert_eq!(
        report_of(&[], "absent.toml"),
        "error: the configuration cannot be read: No such file or directory (os error 2)\n  --> DIR/absent.toml\n  \
         hint: name a TOML file, or a directory that holds some, with --config\n\n1 error(s), 0 warning(s)\n"
    );
}

#[test]
fn a_file_over_16_mib_is_refused_unread() {
    let mut large = b"# all of it a comment\n".repeat(1 << 20);
    large.truncate((16 << 20) + 1);
    assert_eq!(
        report_of(&[("weir.toml", &large)], "weir.toml"),
        "error: the file is larger than 16 MiB\n  --> DIR/weir.toml\n  \
         hint: divide it into several files\n\n1 error(s), 0 warning(s)\n"
    );
    large.truncate(16 << 20);
    let report = report_of(&[("weir.toml", &large)], "weir.toml");
    assert!(report.starts_with("error: there is no listener"), "a file of just 16 MiB is read: {report}");
}

/// Ten megabytes that repeat a piece.
fn ten_megabytes(piece: &str) -> Vec<u8> {
    megabytes(10, piece)
}

fn megabytes(count: usize, piece: &str) -> Vec<u8> {
    piece.repeat(count * 1_000_000 / piece.len()).into_bytes()
}

/// Each would take minutes, all memory or a screen without end where work or output grows with the garbage.
#[test]
fn megabytes_of_garbage_are_answered_soon_and_shortly() {
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut eight = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    };
    let bytes: Vec<u8> = (0..1_250_000).flat_map(|_| eight()).collect();
    let ascii: Vec<u8> = bytes.iter().map(|byte| byte % 96 + 32).collect();
    let keys: Vec<u8> = (0..100_000).flat_map(|number| format!("key{number} = 1\n").into_bytes()).collect();
    let tables: Vec<u8> =
        (0..100_000).flat_map(|number| format!("[services.s{number}]\nx = 1\n").into_bytes()).collect();
    let cases: [(&str, Vec<u8>); 11] = [
        ("random bytes", bytes),
        ("random text", ascii),
        ("brackets", ten_megabytes("]=[\n")),
        ("opening brackets", ten_megabytes("[")),
        ("nested arrays", [b"a = ".to_vec(), megabytes(2, "[")].concat()),
        ("nested tables", [b"a = ".to_vec(), megabytes(2, "{a=")].concat()),
        ("a dotted key", [megabytes(2, "a."), b"a = 1\n".to_vec()].concat()),
        ("a long key", [ten_megabytes("a"), b" = 1\n".to_vec()].concat()),
        ("a long text", [b"routes = \"".to_vec(), ten_megabytes("a"), b"\"\n".to_vec()].concat()),
        ("unknown keys", keys),
        ("refused tables", tables),
    ];
    for (name, bytes) in cases {
        let folder = Folder::new(&[("weir.toml", &bytes)]);
        // What is printed of many problems differs; what is read does not.
        let formats: &[&str] = if name == "unknown keys" { &["text", "json"] } else { &["text"] };
        for format in formats {
            let started = Instant::now();
            let ran = Weir::new("check --format").arg(format).config(folder.path()).run();
            let elapsed = started.elapsed();
            assert_eq!(ran.code, 1, "{name}");
            assert!(ran.stdout.contains("error"), "{name}");
            assert!(ran.stdout.len() < 1_000_000, "{name} as {format}: {} bytes", ran.stdout.len());
            // A second or two in a debug build; an answer in minutes would be none.
            assert!(elapsed.as_secs() < 30, "{name} as {format}: {elapsed:?}");
        }
    }
}

/// Compiles a text beside the reference's contracts: it compiles, or each problem has a message and a hint.
fn compiles_or_tells(folder: &Folder, file: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    fs::write(folder.path().join(file), bytes).expect("the file can be written");
    let sources = Sources::read(folder.path()).expect("the files can be read");
    let Err(report) = compile(&sources) else { return Ok(()) };
    prop_assert!(report.errors() > 0, "refused without an error");
    for problem in report.problems() {
        prop_assert!(!problem.message.is_empty(), "{problem:?}");
        prop_assert!(problem.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{problem:?}");
        prop_assert!(problem.line != Some(0) && problem.column != Some(0), "{problem:?}");
    }
    Ok(())
}

const REFERENCE: [&str; 5] =
    ["weir.toml", "orders.toml", "toggles.toml", "contracts/orders@1.0.0.yaml", "contracts/orders@2.0.0.yaml"];

fn reference(file: &str) -> Vec<u8> {
    fs::read(package("config").join(file)).expect("the reference configuration")
}

fn reference_folder() -> Folder {
    let folder = Folder::new(&[]);
    fs::create_dir(folder.path().join("contracts")).expect("a directory");
    for file in REFERENCE {
        fs::write(folder.path().join(file), reference(file)).expect("a file");
    }
    folder
}

#[test]
fn the_reference_cut_after_or_without_any_line_compiles_or_tells_why_not() {
    let folder = reference_folder();
    for file in REFERENCE {
        let text = reference(file);
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        for line in 0..lines.len() {
            let cut = lines[..line].concat();
            let without = [&lines[..line], &lines[line + 1..]].concat().concat();
            for bytes in [cut, without] {
                compiles_or_tells(&folder, file, &bytes)
                    .unwrap_or_else(|error| panic!("{file} at line {}: {error}", line + 1));
            }
        }
        fs::write(folder.path().join(file), &text).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reference_with_any_flipped_bytes_compiles_or_tells_why_not(
        file in proptest::sample::select(REFERENCE.to_vec()),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = reference(file);
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        compiles_or_tells(&reference_folder(), file, &bytes)?;
    }

    #[test]
    fn any_text_compiles_or_tells_why_not(
        text in proptest::collection::vec(
            prop_oneof![
                "[ -~]{0,12}",
                "\\PC{0,4}",
                proptest::sample::select(vec![
                    "[[routes]]", "[[listeners]]", "[services.a]", "[toggles.t]", "[rollouts.r]", "[weir]", "[limits]",
                    "name = \"a\"", "service = \"a\"", "toggle = \"t\"", "match = {}", "arms = {}", "weight = \"5%\"",
                    "arms.stable = { endpoints = [\"a:1\"] }", "split = { toggle = \"t\", else = \"stable\" }",
                    "variants = { on = 1 }", "default = \"on\"", "category = \"ops\"", "stages = []", "rules = [{}]",
                ]).prop_map(str::to_owned),
            ],
            0..20,
        ),
    ) {
        compiles_or_tells(&Folder::new(&[]), "weir.toml", text.join("\n").as_bytes())?;
    }
}
