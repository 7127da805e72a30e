//! `weir demo`: a canary from its first users to the kill switch, under load, in eight acts.
//!
//! Everything runs in this process and on loopback: two services, weir itself on a real configuration
//! directory, and a load whose every answer is judged. The acts edit the files as a person would; what
//! they claim in the end is computed from what was measured.

mod claims;
mod client;
mod files;
mod latency;
mod ledger;
mod load;
mod refusal;
mod scene;
mod service;
mod stage;
mod view;

use std::{
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};

use self::{
    claims::{BrokenFile, Claims, Findings},
    refusal::send_broken_orders,
    scene::{Arm, generation},
    stage::Stage,
    view::View,
};
use super::print;
use crate::reload::Outcome;

/// How long an act lasts at least, to be watched.
const ACT_MIN: Duration = Duration::from_millis(2_300);

/// Between two pictures of the traffic.
const FRAME: Duration = Duration::from_millis(100);

/// How long an act waits at most for what it is about: an edit in force, or every user seen. Counted in
/// frames, about five seconds, since a process that was stopped for a while has seen nothing meanwhile.
const FRAMES_MAX: u32 = 50;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Leave everything running at the end, to play with.
    #[arg(long)]
    keep: bool,
}

pub(super) fn demo(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut stage = Stage::open()?;
        let performed = perform(&stage, arguments.keep).await;
        if arguments.keep && performed.is_ok() {
            stage.files.keep();
        }
        stage.close().await?;
        performed
    })
}

async fn perform(stage: &Stage, keep: bool) -> anyhow::Result<ExitCode> {
    let mut story = Story { stage, view: View::new()?, findings: Findings::default() };
    story.view.say(&stage.introduction())?;
    story.view.say("")?;
    let load = stage.load()?;
    let begun = Instant::now();
    let played = tokio::select! {
        played = story.play() => played,
        stopped = told_to_stop() => stopped.and_then(|()| anyhow::bail!("stopped before the end")),
    };
    story.findings.took = begun.elapsed();
    load.stop()?;
    story.view.close()?;
    played?;

    let findings = Findings {
        last_generation: stage.app.generation(),
        requests_seen: stage.services.requests(),
        broken_seen: stage.services.broken(),
        ..story.findings
    };
    let claims = Claims::of(&stage.ledger, &stage.script, &findings);
    print(&claims.to_string())?;
    if keep {
        print(&stage.invitation())?;
        told_to_stop().await?;
    }
    Ok(if claims.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn told_to_stop() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// The acts, and what they found.
struct Story<'a> {
    stage: &'a Stage,
    view: View,
    findings: Findings,
}

impl Story<'_> {
    async fn play(&mut self) -> anyhow::Result<()> {
        self.begin().await?;
        self.raise(2, "Raise to 30%", r#"weight = "30%""#, generation::THIRTY).await?;
        self.raise(3, "Raise to 60%", r#"weight = "60%""#, generation::SIXTY).await?;
        self.pin_beta_testers().await?;
        self.send_broken_payloads().await?;
        self.break_the_file().await?;
        self.kill().await?;
        self.restore().await
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        self.view.act(1, "Canary at 10%", r#"weight = "10%""#)?;
        self.watch(generation::TENTH).await;
        let on_canary = self.on(generation::TENTH, Arm::Canary);
        self.finding(&format!("{on_canary} on v2"))
    }

    async fn raise(&mut self, act: usize, name: &str, how: &str, to: u64) -> anyhow::Result<()> {
        self.view.act(act, name, how)?;
        let in_force = self.edit(to).await?;
        self.watch(to).await;
        let on_canary = self.on(to, Arm::Canary);
        let back = claims::moved_back(&self.stage.ledger, to).len();
        self.finding(&format!("{in_force}: {on_canary} on v2, {back} moved back"))
    }

    async fn pin_beta_testers(&mut self) -> anyhow::Result<()> {
        self.view.act(4, "Pin a cohort", r#"a rule: x-cohort equals "beta" → on"#)?;
        let in_force = self.edit(generation::BETA).await?;
        self.watch(generation::BETA).await;
        let Stage { ledger, script, .. } = self.stage;
        let outside = claims::outside_share(ledger, script).len();
        let beta = claims::beta_users(ledger, script);
        let pinned = beta.difference(&ledger.users_on(generation::BETA, Arm::Stable)).count();
        let beta = beta.len();
        self.finding(&format!("{in_force}: {pinned} of {beta} beta testers on v2, {outside} beyond the share"))
    }

    async fn send_broken_payloads(&mut self) -> anyhow::Result<()> {
        self.view.act(5, "Break the contract", r#"POST {"item":"tea","quantity":"4111 1111…"}"#)?;
        self.findings.refusals = send_broken_orders(self.stage.edge, &self.stage.script).await;
        self.watch(generation::BETA).await;
        let refusals = &self.findings.refusals;
        let (sent, refused, pointers) = (refusals.sent, refusals.refused, refusals.pointers.join(", "));
        let reached = self.stage.services.broken();
        self.finding(&format!("{refused} of {sent} refused: 400, {pointers}; {reached} reached a service"))
    }

    async fn break_the_file(&mut self) -> anyhow::Result<()> {
        let Stage { ledger, app, files, .. } = self.stage;
        self.view.act(6, "Break the file", "enabeld = true")?;
        let (requests, failures) = (ledger.requests(), ledger.failures());
        files.put_broken(self.stage.scene(generation::BETA)?)?;
        let outcome = app.reload().await;
        self.watch(generation::BETA).await;
        self.findings.broken_file = Some(BrokenFile {
            rejected: matches!(outcome, Outcome::Rejected(_)),
            generation: app.generation(),
            requests: ledger.requests() - requests,
            failures: ledger.failures() - failures,
        });
        self.finding(&match outcome {
            Outcome::Rejected(report) => rejected(&report),
            Outcome::Applied { generation, .. } => format!("accepted as generation {generation}"),
            Outcome::Unchanged | Outcome::Unsettled => "not noticed".to_owned(),
        })
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.view.act(7, "Kill the toggle", "enabled = false, in a file that is whole again")?;
        let ledger = &self.stage.ledger;
        let renamed_us = ledger.now_us();
        let in_force = self.edit(generation::KILLED).await?;
        self.watch(generation::KILLED).await;
        let on_stable = self.on(generation::KILLED, Arm::Stable);
        if ledger.first_us(generation::KILLED).is_some() {
            let kill = Duration::from_micros(ledger.last_canary_us().saturating_sub(renamed_us));
            self.findings.kill = Some(kill);
            return self.finding(&format!("{on_stable} on v1; no answer of v2 after {} ms", kill.as_millis()));
        }
        self.finding(&in_force)
    }

    async fn restore(&mut self) -> anyhow::Result<()> {
        self.view.act(8, "Put it back", "enabled = true")?;
        let in_force = self.edit(generation::RESTORED).await?;
        self.watch(generation::RESTORED).await;
        let before = self.stage.ledger.users_on(generation::BETA, Arm::Canary);
        let after = self.stage.ledger.users_on(generation::RESTORED, Arm::Canary);
        let same = before.intersection(&after).count();
        self.finding(&format!("{in_force}: {} users on v2, {same} of them as before the kill", after.len()))
    }

    /// Edits the file, waits for the first answer that comes of it, and tells how long that took.
    async fn edit(&mut self, generation: u64) -> anyhow::Result<String> {
        let ledger = &self.stage.ledger;
        let renamed_us = ledger.now_us();
        self.stage.files.put(self.stage.scene(generation)?)?;
        self.findings.edits += 1;
        self.until(Duration::ZERO, || ledger.first_us(generation).is_some()).await;
        let Some(first_us) = ledger.first_us(generation) else {
            return Ok(format!("not in force within {:?}", FRAME * FRAMES_MAX));
        };
        Ok(format!("in force in {} ms", first_us.saturating_sub(renamed_us) / 1000))
    }

    /// Watches the traffic until every user was seen in the generation.
    async fn watch(&mut self, generation: u64) {
        let Stage { ledger, script, .. } = self.stage;
        self.until(ACT_MIN, || ledger.users_seen(generation).len() == script.users().len()).await;
    }

    async fn until(&mut self, min: Duration, done: impl Fn() -> bool) {
        let begun = Instant::now();
        let mut frames = tokio::time::interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..FRAMES_MAX {
            frames.tick().await;
            self.view.frame(&self.stage.ledger, self.stage.app.generation());
            if begun.elapsed() >= min && done() {
                return;
            }
        }
    }

    /// How many users the arm answered under the generation.
    fn on(&self, generation: u64, arm: Arm) -> String {
        let Stage { ledger, script, .. } = self.stage;
        format!("{} of {} users", ledger.users_on(generation, arm).len(), script.users().len())
    }

    fn finding(&self, text: &str) -> anyhow::Result<()> {
        self.view.finding(text).map_err(io::Error::into)
    }
}

/// The first problem of a report, in one line.
fn rejected(report: &crate::config::Report) -> String {
    let Some(problem) = report.problems().first() else { return "rejected".to_owned() };
    let file = problem.file.rsplit('/').next().unwrap_or_default();
    let line = problem.line.unwrap_or_default();
    let hint = problem.hint.as_deref().unwrap_or_default();
    format!("rejected, {file}:{line}: {}; {hint}", problem.message)
}
