//! What the kernel tells of a process, and on which core it runs.

use std::{fs, path::Path, process::Command};

use crate::Result;

/// CPU time of a process, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // Linux tells process times in hundredths of a second, whatever its own clock is (time(7)).
        let microseconds = |field: &str| Ok::<f64, Box<dyn std::error::Error>>(field.parse::<f64>()? * 10_000.0);
        Ok(Cpu { user_us: microseconds(fields[11])?, system_us: microseconds(fields[12])? })
    }

    pub(crate) fn since(self, earlier: Cpu) -> Cpu {
        Cpu { user_us: self.user_us - earlier.user_us, system_us: self.system_us - earlier.system_us }
    }
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// A command that runs on one core alone.
pub(crate) fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}
