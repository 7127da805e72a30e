//! The watch: tells the writer to look when files may have changed.
//!
//! What notify says is taken as a hint and nothing more: watches get lost, Kubernetes swaps a symlink
//! far from the files, some filesystems have no events. The writer compares contents, and it is told
//! to look every [`POLL_EVERY`] whatever happens.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::{sync::mpsc, time::Instant};

use super::command::Command;
use crate::{config::is_source, store::OVERLAY};

/// How often files are looked at without any event.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// How long it has to be quiet after an event: an editor makes several.
const QUIET: Duration = Duration::from_millis(50);

/// How long a stream of events may hold a look back.
const HOLD_MAX: Duration = Duration::from_millis(400);

/// Watches a configuration until the writer is gone.
pub async fn watch(config: PathBuf, commands: mpsc::Sender<Command>) {
    // One place is enough: an event that finds it taken is covered by the look to come.
    let (hint, mut hints) = mpsc::channel::<()>(1);
    let file = config.clone();
    let mut watcher = watcher(hint, move |event| concerns(event, &file));
    let mut watched = BTreeSet::new();
    let mut noticed = Instant::now();
    loop {
        // Before the look, so that nothing can change unseen between the two.
        if let Some(mut armed) = watcher.take() {
            let (config, mut directories) = (config.clone(), std::mem::take(&mut watched));
            // Off this thread: a volume that hangs must not hold up health, kills and a stop.
            let arming = tokio::task::spawn_blocking(move || {
                rearm(&mut armed, &mut directories, &config);
                (armed, directories)
            });
            // An error is the end of the process.
            let Ok((armed, directories)) = arming.await else { return };
            (watcher, watched) = (Some(armed), directories);
        }
        if commands.send(Command::Look { noticed: noticed.into_std() }).await.is_err() {
            return;
        }
        let hinted = tokio::time::timeout(POLL_EVERY, hints.recv()).await;
        noticed = Instant::now();
        if hinted == Ok(None) {
            // The watcher's thread is gone: from now on there is only the slow look.
            watcher = None;
        }
        if hinted == Ok(Some(())) {
            let hold_until = Instant::now() + HOLD_MAX;
            while Instant::now() < hold_until {
                match tokio::time::timeout(QUIET, hints.recv()).await {
                    Ok(Some(())) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
        if watcher.is_none() {
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// Watches the overlay's file in a `state_dir`, which another process may change, until the writer is gone. It is
/// always whole, so that nothing is waited for.
pub async fn watch_overlay(state_dir: PathBuf, commands: mpsc::Sender<Command>) {
    let (hint, mut hints) = mpsc::channel::<()>(1);
    let mut watcher = watcher(hint, |event| event.paths.iter().any(|path| path.ends_with(OVERLAY)));
    loop {
        if let Some(mut armed) = watcher.take() {
            let state_dir = state_dir.clone();
            // Anew each time: the directory may be another one, or have come. Off this thread, as above.
            let arming = tokio::task::spawn_blocking(move || {
                armed.watch(&state_dir, RecursiveMode::NonRecursive).ok();
                armed
            });
            let Ok(armed) = arming.await else { return };
            watcher = Some(armed);
        }
        if commands.send(Command::Glimpse { noticed: Instant::now().into_std() }).await.is_err() {
            return;
        }
        if tokio::time::timeout(POLL_EVERY, hints.recv()).await == Ok(None) {
            watcher = None;
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

fn watcher(hint: mpsc::Sender<()>, matters: impl Fn(&Event) -> bool + Send + 'static) -> Option<RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, |event| !only_reads(event) && matters(event)) {
            // Full or closed, there is nothing more to say.
            hint.try_send(()).ok();
        }
    });
    watcher.inspect_err(|error| tracing::warn!(%error, "no file events: files are looked at every {POLL_EVERY:?}")).ok()
}

/// Reading a file is an event too, and the writer reads them all.
fn only_reads(event: &Event) -> bool {
    use AccessKind::{Close, Open, Read};
    matches!(event.kind, EventKind::Access(Open(_) | Read | Close(AccessMode::Read)))
}

/// Whether a configuration may be another after an event. A file that is written all the time beside it, as a log is, says
/// nothing of it. A certificate may have any name, and so may what a link leads to: one that is written over, and not
/// replaced, is left to the slow look.
fn concerns(event: &Event, config: &Path) -> bool {
    let written = matches!(
        event.kind,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    );
    !written || event.paths.iter().any(|path| is_source(path) || path.file_name() == config.file_name())
}

/// Watches every directory that the files are reached through, symbolic links resolved. All are
/// watched anew, since a directory that was replaced keeps its name and loses its watch.
fn rearm(watcher: &mut RecommendedWatcher, watched: &mut BTreeSet<PathBuf>, config: &Path) {
    let directories = directories(config);
    for gone in watched.difference(&directories) {
        // It fails when the directory is gone, and then there is nothing to undo.
        drop(watcher.unwatch(gone));
    }
    for directory in &directories {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, directory = %directory.display(), "a directory is not watched");
        }
    }
    *watched = directories;
}

fn directories(config: &Path) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    let root = if config.is_dir() { config.to_owned() } else { parent(config) };
    let mut directories = BTreeSet::from([parent(config), root.clone()]);
    for folder in [root.clone(), root.join("contracts")] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let resolved = entries.flatten().filter_map(|entry| fs::canonicalize(entry.path()).ok());
        directories.extend(resolved.filter(|path| path.is_file()).map(|path| parent(&path)));
        directories.insert(folder);
    }
    directories
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn a_log_that_is_written_says_nothing_of_the_configuration_beside_it() {
        let written = [
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
        ];
        let other = [
            EventKind::Create(CreateKind::Any),
            EventKind::Remove(RemoveKind::Any),
            EventKind::Modify(ModifyKind::Name(RenameMode::Any)),
            EventKind::Modify(ModifyKind::Any),
            EventKind::Any,
            EventKind::Other,
        ];
        let told = |kind, name: &str| concerns(&Event::new(kind).add_path(name.into()), Path::new("/c/edge.conf"));
        for kind in written {
            for name in ["/c/a.toml", "/c/a.flagd.json", "/c/contracts/a.yaml", "/elsewhere/edge.conf"] {
                assert!(told(kind, name), "{kind:?} of {name}");
            }
            for name in ["/c/access.log", "/c/.a.toml", "/c/edge.conf.swp"] {
                assert!(!told(kind, name), "{kind:?} of {name}");
            }
        }
        for kind in other {
            assert!(told(kind, "/c/access.log"), "{kind:?}");
        }
    }

    #[test]
    fn what_the_writer_reads_is_no_change() {
        for (kind, only) in [
            (AccessKind::Open(AccessMode::Any), true),
            (AccessKind::Read, true),
            (AccessKind::Close(AccessMode::Read), true),
            (AccessKind::Close(AccessMode::Write), false),
            (AccessKind::Any, false),
        ] {
            assert_eq!(only_reads(&Event::new(EventKind::Access(kind))), only, "{kind:?}");
        }
    }
}
