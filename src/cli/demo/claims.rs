//! The claims: what the demo is there to prove, each computed from what was measured.

use std::{collections::BTreeSet, fmt, time::Duration};

use indicatif::HumanCount;

use super::{
    ledger::Ledger,
    refusal::Refusals,
    scene::{Arm, Script, generation},
    view::Quantiles,
};

/// Longer than this, and a kill switch would not deserve its name.
const KILL_MAX: Duration = Duration::from_secs(2);

/// What the acts measured beside the traffic.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Edits of the configuration that were to be put in force.
    pub(super) edits: u64,
    /// How broken payloads were answered.
    pub(super) refusals: Refusals,
    /// What came of the broken file.
    pub(super) broken_file: Option<BrokenFile>,
    /// From the edit that kills the toggle to the last answer of the canary.
    pub(super) kill: Option<Duration>,
    /// The generation in force in the end.
    pub(super) last_generation: u64,
    /// Sound requests that the services saw.
    pub(super) requests_seen: u64,
    /// Broken payloads that the services saw.
    pub(super) broken_seen: u64,
    /// How long the load ran.
    pub(super) took: Duration,
}

/// What came of a broken file.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokenFile {
    /// Whether weir refused it.
    pub(super) rejected: bool,
    /// The generation in force after it lay there for an act.
    pub(super) generation: u64,
    /// Requests sent meanwhile.
    pub(super) requests: u64,
    /// Those that failed.
    pub(super) failures: u64,
}

/// One claim.
#[derive(Debug)]
struct Claim {
    about: String,
    measured: String,
    holds: bool,
}

/// All claims, and what they are computed from.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    ledger: &'a Ledger,
    script: &'a Script,
    findings: &'a Findings,
    claims: Vec<Claim>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(ledger: &'a Ledger, script: &'a Script, findings: &'a Findings) -> Claims<'a> {
        let mut claims = Claims { ledger, script, findings, claims: Vec::new() };
        claims.requests();
        for generation in [generation::TENTH, generation::THIRTY, generation::SIXTY] {
            claims.share(generation);
        }
        claims.moved_back();
        claims.cohort();
        claims.broken_payloads();
        claims.broken_file();
        claims.kill();
        claims.restore();
        claims
    }

    /// Whether every claim holds.
    pub(super) fn hold(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }

    fn claim(&mut self, about: impl Into<String>, measured: String, holds: bool) {
        self.claims.push(Claim { about: about.into(), measured, holds });
    }

    fn requests(&mut self) {
        let (requests, failures) = (self.ledger.requests(), self.ledger.failures());
        let unexplained = self.ledger.unexplained();
        let seen = self.findings.requests_seen;
        let all = HumanCount(requests);
        self.claim("failed requests", format!("{failures} of {all}"), failures == 0 && requests > 0);
        let measured = format!("{} of {all}", HumanCount(seen));
        self.claim("reached a service, once each", measured, seen == requests);
        let measured = format!("{unexplained} of {all}");
        self.claim("decisions against the arithmetic", measured, unexplained == 0 && requests > 0);
    }

    fn share(&mut self, generation: u64) {
        let Some(scene) = self.script.scene(generation) else { return };
        let seen = self.ledger.users_seen(generation);
        let on_canary = self.ledger.users_on(generation, Arm::Canary);
        let is_owed = |user: &usize| self.script.arm(generation, *user) == Some(Arm::Canary);
        let owed: BTreeSet<usize> = seen.iter().copied().filter(is_owed).collect();
        let share = self.ledger.canary_share(generation) * 100.0;
        let measured =
            format!("{} of {}, expected {}; {share:.1}% of requests", on_canary.len(), seen.len(), owed.len());
        self.claim(format!("users on v2 at {}", scene.weight), measured, on_canary == owed && !owed.is_empty());
    }

    fn moved_back(&mut self) {
        let raises = [generation::THIRTY, generation::SIXTY, generation::BETA];
        let back: BTreeSet<usize> = raises.into_iter().flat_map(|to| moved_back(self.ledger, to)).collect();
        let ever = self.ledger.users_on(generation::BETA, Arm::Canary).len();
        self.claim("users moved back by a raise", format!("{} of {ever}", back.len()), back.is_empty() && ever > 0);
    }

    fn cohort(&mut self) {
        let beta = beta_users(self.ledger, self.script);
        let on_stable = self.ledger.users_on(generation::BETA, Arm::Stable);
        let pinned = beta.difference(&on_stable).count();
        let outside = outside_share(self.ledger, self.script).len();
        let measured = format!("{pinned} of {}, {outside} of them beyond the share", beta.len());
        self.claim("beta testers on v2", measured, pinned == beta.len() && outside > 0);
    }

    fn broken_payloads(&mut self) {
        let Refusals { sent, refused, echoed, .. } = self.findings.refusals;
        let measured = format!("{refused} of {sent} with a pointer, {echoed} echoed");
        self.claim("broken payloads refused", measured, refused == sent && echoed == 0 && sent > 0);
        let seen = self.findings.broken_seen;
        self.claim("broken payloads that got through", format!("{seen} of {sent}"), seen == 0 && sent > 0);
    }

    fn broken_file(&mut self) {
        let Some(BrokenFile { rejected, generation, requests, failures }) = self.findings.broken_file else {
            return self.claim("broken file", "it was not written".to_owned(), false);
        };
        let verdict = if rejected { "rejected" } else { "accepted" };
        let served = HumanCount(requests - failures);
        let measured = format!("{verdict}; {served} served on, {failures} failed");
        let untouched = generation == generation::BETA && failures == 0 && requests > 0;
        self.claim("broken file", measured, rejected && untouched);
    }

    fn kill(&mut self) {
        let seen = self.ledger.users_seen(generation::KILLED).len();
        let on_canary = self.ledger.users_on(generation::KILLED, Arm::Canary).len();
        let kill = self.findings.kill;
        let took = kill.map_or("never in force".to_owned(), |kill| format!("no v2 after {} ms", kill.as_millis()));
        let measured = format!("{took}; {} of {seen} users on v1", seen - on_canary);
        let in_time = kill.is_some_and(|kill| kill <= KILL_MAX);
        self.claim("kill switch", measured, in_time && on_canary == 0 && seen > 0);
    }

    fn restore(&mut self) {
        let seen = self.ledger.users_seen(generation::RESTORED);
        let before: BTreeSet<usize> =
            self.ledger.users_on(generation::BETA, Arm::Canary).intersection(&seen).copied().collect();
        let after = self.ledger.users_on(generation::RESTORED, Arm::Canary);
        let same = before.intersection(&after).count();
        let measured = format!("{same} of {}, {} others", before.len(), after.len() - same);
        self.claim("same users on v2 after restoring", measured, before == after && !after.is_empty());
        let Findings { edits, last_generation, .. } = *self.findings;
        let measured = format!("{last_generation}: the start and {edits} edits");
        self.claim("generations of the configuration", measured, last_generation == edits + 1);
    }
}

/// Users who were on the canary in the generation before, and on stable in this one.
pub(super) fn moved_back(ledger: &Ledger, to: u64) -> BTreeSet<usize> {
    let before = ledger.users_on(to - 1, Arm::Canary);
    before.intersection(&ledger.users_on(to, Arm::Stable)).copied().collect()
}

/// Beta testers who were seen while their rule was in force.
pub(super) fn beta_users(ledger: &Ledger, script: &Script) -> BTreeSet<usize> {
    ledger.users_seen(generation::BETA).into_iter().filter(|&user| script.users()[user].beta).collect()
}

/// Beta testers on the canary whom the share alone leaves on stable.
pub(super) fn outside_share(ledger: &Ledger, script: &Script) -> BTreeSet<usize> {
    let on_canary = ledger.users_on(generation::BETA, Arm::Canary);
    let outside = |user: &usize| script.arm(generation::SIXTY, *user) == Some(Arm::Stable);
    beta_users(ledger, script).intersection(&on_canary).copied().filter(outside).collect()
}

impl fmt::Display for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, users) = (HumanCount(self.ledger.requests()), self.script.users().len());
        let took = self.findings.took.as_secs_f64();
        writeln!(f, "\nMeasured: {requests} requests of {users} users in {took:.1} s\n")?;
        for Claim { about, measured, holds } in &self.claims {
            let mark = if *holds { '✓' } else { '✗' };
            writeln!(f, " {mark} {about:<33} {measured}")?;
        }
        writeln!(f)?;
        for arm in Arm::ALL {
            let answers = HumanCount(self.ledger.latencies(arm).count());
            let answers = format!("{answers} answers of {}", arm.version());
            writeln!(f, "   {answers:<33} {}", Quantiles { ledger: self.ledger, arm })?;
        }
        if let Some(failure) = self.ledger.first_failure() {
            writeln!(f, "\nThe first failure: {failure}")?;
        }
        match self.claims.iter().filter(|claim| !claim.holds).count() {
            0 => write!(f, "\nEvery claim held."),
            broken => write!(f, "\n{broken} of {} claims did not hold.", self.claims.len()),
        }
    }
}

#[cfg(test)]
mod tests;
