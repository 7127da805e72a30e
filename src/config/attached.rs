//! Attached files: what the configuration names by path, such as certificates, keys and secrets.
//!
//! They are part of the configuration's sources: a changed certificate is a reload like any other, and
//! one that does not fit is refused like any other mistake. They are never copied to `state_dir`.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fmt, fs,
    hash::Hasher,
    io,
    io::Read,
    path::Path,
    sync::Arc,
};

use toml::de::{DeTable, DeValue};

use super::source::SourceFile;

/// Keys whose value is the path of a file, or a list of paths.
const FILE_KEYS: [&str; 7] = ["ca", "cert", "client_ca", "crl", "jwks", "key", "secret_file"];

/// Tables that hold names and values of their author's own, where such a key is no path.
const FREE_TABLES: [&str; 4] = ["toggles", "segments", "rollouts", "routes"];

/// Words without one of which no text names a file: `cert`, `key` and the like stand below `tls`. Ten
/// thousand toggles need not be parsed to see that.
const MARKS: [&str; 3] = ["tls", "jwks", "secret_file"];

/// The largest attached file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Attached files of one configuration; more are not read.
const FILES_MAX: usize = 10_000;

/// What the named files held, by their paths as they are written; or why they could not be read.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Attached(BTreeMap<String, Found>);

/// What a file held, or why it could not be read.
type Found = Result<Arc<[u8]>, String>;

/// Reads the file of a path as it is written.
type Reader<'a> = &'a dyn Fn(&str) -> Found;

impl Attached {
    /// Reads every file that the settings name. Relative paths start from `root`.
    pub(super) fn read(root: &Path, settings: &[SourceFile]) -> Attached {
        Attached::gather(settings, &|path| read(&root.join(path)).map_err(|error| error.to_string()))
    }

    /// Has every file read that the settings name.
    pub(super) fn gather(settings: &[SourceFile], read: Reader<'_>) -> Attached {
        let mut files = BTreeMap::new();
        let texts = settings.iter().filter_map(|file| std::str::from_utf8(&file.bytes).ok());
        for text in texts.filter(|text| MARKS.iter().any(|mark| text.contains(mark))) {
            let (table, _reported_when_compiled) = DeTable::parse_recoverable(text);
            for (name, value) in table.get_ref() {
                if !FREE_TABLES.contains(&&**name.get_ref()) {
                    find(name.get_ref(), value.get_ref(), read, &mut files);
                }
            }
        }
        Attached(files)
    }

    /// What the file of that path held.
    pub(super) fn bytes(&self, path: &str) -> Result<&[u8], &str> {
        match self.0.get(path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(error),
            None => Err("the configuration names more files than are read"),
        }
    }

    /// Every file with a digest of what it held, for telling what changed.
    pub(super) fn digests(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(path, read)| {
            let mut digest = DefaultHasher::new();
            digest.write(read.as_deref().unwrap_or_default());
            (format!("files.{path}"), format!("{:x}", digest.finish()))
        })
    }
}

impl fmt::Debug for Attached {
    /// The paths alone: the bytes are keys and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn find(key: &str, value: &DeValue<'_>, read: Reader<'_>, files: &mut BTreeMap<String, Found>) {
    match value {
        DeValue::String(path) if FILE_KEYS.contains(&key) && files.len() < FILES_MAX => {
            files.entry(path.to_string()).or_insert_with(|| read(path));
        }
        DeValue::Array(values) => values.iter().for_each(|value| find(key, value.get_ref(), read, files)),
        DeValue::Table(table) => {
            table.iter().for_each(|(name, value)| find(name.get_ref(), value.get_ref(), read, files));
        }
        _ => {}
    }
}

fn read(path: &Path) -> io::Result<Arc<[u8]>> {
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(directory: &Path, text: &str) -> Attached {
        let file = SourceFile { path: "weir.toml".into(), bytes: text.as_bytes().into() };
        Attached::read(directory, &[file])
    }

    #[test]
    fn files_are_found_by_their_keys_and_read_from_the_root() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.pem"), "A").unwrap();
        let text =
            "[[listeners]]\ntls = { cert = \"a.pem\", client_ca = [\"b.pem\"] }\n[toggles.x]\nkey = \"a.pem2\"\n";
        let files = attached(directory.path(), text);
        assert_eq!(files.bytes("a.pem"), Ok(&b"A"[..]));
        assert!(files.bytes("b.pem").unwrap_err().contains("No such file"));
        assert_eq!(files.0.len(), 2, "a toggle's own words are no paths: {files:?}");
    }

    #[test]
    fn what_is_shown_of_files_is_never_what_they_hold() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("secret"), "hunter2").unwrap();
        let files = attached(directory.path(), "[jwt.a]\nsecret_file = \"secret\"\n");
        assert_eq!(format!("{files:?}"), "{\"secret\"}");
        assert!(files.digests().all(|(path, digest)| path == "files.secret" && !digest.contains("hunter2")));
    }
}
