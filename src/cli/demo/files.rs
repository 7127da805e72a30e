//! The configuration directory that the acts edit.

use std::{
    fs,
    fs::DirBuilder,
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::scene::{Arm, Scene};

const WEIR: &str = include_str!("weir.toml");
const ORDERS: &str = include_str!("orders.toml");
const BETA_RULE: &str = r#"
[[toggles.orders-v2.rules]]
name = "beta testers"
when = { attr = "header:x-cohort", equals = "beta" }
serve = "on"
"#;
const CONTRACTS: [(&str, &str); 2] = [
    ("orders@1.0.0.yaml", include_str!("../../../config/contracts/orders@1.0.0.yaml")),
    ("orders@2.0.0.yaml", include_str!("../../../config/contracts/orders@2.0.0.yaml")),
];

/// Names that are tried for the directory before giving up.
const NAMES_MAX: usize = 100;

/// A directory that is removed in the end, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    services: [SocketAddr; 2],
    kept: bool,
}

impl Files {
    /// Writes a whole configuration below the system's place for temporary files.
    pub(super) fn create(services: [SocketAddr; 2], scene: &Scene) -> io::Result<Files> {
        let files = Files { directory: fresh_directory()?, services, kept: false };
        let state_dir = files.directory.join("state");
        // A Rust string literal is a TOML string, but for characters that no such path has.
        fs::write(files.path("weir.toml"), WEIR.replace("{state_dir}", &format!("{state_dir:?}")))?;
        fs::create_dir(files.path("contracts"))?;
        for (name, text) in CONTRACTS {
            fs::write(files.path("contracts").join(name), text)?;
        }
        files.put(scene)?;
        Ok(files)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that the acts edit.
    pub(super) fn orders(&self) -> PathBuf {
        self.path("orders.toml")
    }

    /// Makes the file say what the scene says.
    pub(super) fn put(&self, scene: &Scene) -> io::Result<()> {
        self.replace(&self.text(scene))
    }

    /// The same with a slip of the pen in it.
    pub(super) fn put_broken(&self, scene: &Scene) -> io::Result<()> {
        self.replace(&self.text(scene).replace("\nenabled", "\nenabeld"))
    }

    /// Leaves the directory where it is.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    fn text(&self, scene: &Scene) -> String {
        let text = ORDERS
            .replace("{stable}", &self.services[Arm::Stable.index()].to_string())
            .replace("{canary}", &self.services[Arm::Canary.index()].to_string())
            .replace("{weight}", &scene.weight.to_string())
            .replace("{enabled}", &scene.enabled.to_string());
        if scene.beta_rule { text + BETA_RULE } else { text }
    }

    /// As careful editors do it: written beside, then renamed into place.
    fn replace(&self, text: &str) -> io::Result<()> {
        let beside = self.path(".orders.toml.new");
        fs::write(&beside, text)?;
        fs::rename(beside, self.orders())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.kept {
            // What is left over in a place for temporary files harms nobody.
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// A new directory that only this user can enter.
fn fresh_directory() -> io::Result<PathBuf> {
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..NAMES_MAX {
        let directory = std::env::temp_dir().join(format!("weir-demo-{:04x}", fastrand::u16(..)));
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::demo::scene::{Script, generation},
        config::{Sources, compile},
    };

    #[test]
    fn every_scene_compiles_without_a_warning_and_the_broken_file_does_not() {
        let script = Script::new().unwrap();
        let services = ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
        let files = Files::create(services, script.scene(generation::TENTH).unwrap()).unwrap();
        for generation in generation::TENTH..=generation::RESTORED {
            files.put(script.scene(generation).unwrap()).unwrap();
            let compiled = compile(&Sources::read(files.directory()).unwrap()).unwrap();
            assert_eq!(compiled.warnings.problems(), []);
        }
        files.put_broken(script.scene(generation::BETA).unwrap()).unwrap();
        assert!(compile(&Sources::read(files.directory()).unwrap()).is_err());
    }
}
