//! `weir demo`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Leave everything running at the end.
    #[arg(long)]
    keep: bool,
}

pub(super) fn demo(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{arguments:?}")
}
