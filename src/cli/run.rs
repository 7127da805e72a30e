//! `weir run`: serves until it is told to stop.

use std::{future, io, pin::pin, process::ExitCode};

use anyhow::Context;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use super::Config;
use crate::app::App;

/// SIGHUP loads the configuration now, and opens the access log anew. SIGTERM and SIGINT drain and exit with 0; a second one of them
/// ends at once.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Listen beside a weir that serves the same addresses: start this one with it, then stop the other.
    #[arg(long)]
    take_over: bool,
    /// How log lines are written to standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The least important level that is logged: error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    log_level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    log(arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        // Before the start, so that no signal is missed in between.
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
        let config = &arguments.config.config;
        let app = if arguments.take_over { App::take_over(config)? } else { App::start(config)? };
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let reload = async || {
            app.reopen_access_log();
            app.reload().await;
        };
        reload_until(
            stop,
            async || {
                hangup.recv().await;
            },
            reload,
        )
        .await;
        tokio::select! {
            () = app.drain() => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Ok(ExitCode::FAILURE),
            _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        }
    })
}

/// Reloads at each hang-up. A volume that hangs must not hold a stop back, so that no reload is waited for: what
/// came of it is logged.
async fn reload_until(stop: impl Future<Output = ()>, mut hangup: impl AsyncFnMut(), reload: impl AsyncFn()) {
    let mut stop = pin!(stop);
    let mut wanted = false;
    loop {
        let reloading = async {
            if wanted {
                reload().await;
            } else {
                future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = &mut stop => return,
            () = hangup() => wanted = true,
            () = reloading => wanted = false,
        }
    }
}

/// Libraries warn of what a client does wrong, once for each time: a client must not be able to write a
/// log of its own, so that only their errors are shown.
fn log(arguments: &Arguments) {
    let shown = Targets::new().with_default(Level::ERROR).with_target(env!("CARGO_CRATE_NAME"), arguments.log_level);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(shown);
    match arguments.log_format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_reload_that_hangs_holds_back_neither_a_stop_nor_the_next_reload() {
        let (stop, begun) = (Notify::new(), Cell::new(0));
        let hangup = async || {
            if begun.get() > 1 {
                future::pending().await
            }
        };
        let reload = async || {
            begun.set(begun.get() + 1);
            if begun.get() > 1 {
                stop.notify_one();
            }
            future::pending().await
        };
        reload_until(stop.notified(), hangup, reload).await;
        assert!(begun.get() > 1);
    }
}
