//! The one task that publishes snapshots.

use std::{
    collections::btree_map::Entry,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{
    bound::keep_bound,
    command::{Command, Killed, Order, OrderError, Outcome, Restored},
    keeping::{Keeping, keep},
    overlaid::{Glimpse, Overlaid},
    reading::{Applied, Found, Judged, Look, Next, Reading},
    saying,
};
use crate::{
    aside,
    config::{Guards, Inventory, Problem, Report, Sources, did_you_mean},
    live::{FirstDecision, Live, Serving},
    plan::{Kill, Listener, Overlay, Plan, Process},
    telemetry::{Change, Meters, OrderKind, OrderOutcome, ReloadGauges},
    toggle::Timestamp,
};

/// How often it is looked whether a request was decided on the newest snapshot.
const FIRST_DECISION_EVERY: Duration = Duration::from_secs(1);

/// The state of the task.
#[derive(Debug)]
pub struct Writer {
    config: PathBuf,
    live: Live,
    meters: watch::Sender<Arc<Meters>>,
    gauges: ReloadGauges,
    /// What needs a restart to change, as the process started with it.
    started: (Process, Vec<Listener>),
    applied: Arc<Applied>,
    /// The last reading that was refused, so that it is reported once.
    refused: Option<Arc<Reading>>,
    retired: Vec<Arc<Serving>>,
    keeping: Keeping,
    overlaid: Overlaid,
    /// The glimpse of the overlay's file that is under way.
    glimpsing: JoinSet<Option<Glimpse>>,
    /// The glimpse after it.
    glimpse_wanted: Option<Instant>,
    /// Whether the file cannot be used, which is told once.
    overlay_broken: bool,
    /// The look that is under way, and who waits for it.
    looking: JoinSet<Found>,
    underway: Wanted,
    /// The look after it: files may have changed since that one read them.
    wanted: Wanted,
    /// The change that no request was decided on yet.
    awaited: Option<Awaited>,
}

/// Why there is to be a look.
#[derive(Debug, Default)]
struct Wanted {
    /// Since when.
    since: Option<Instant>,
    answers: Vec<oneshot::Sender<Outcome>>,
    /// What the look before it came to, after they asked: it may have read what they mean.
    earlier: Option<Outcome>,
}

#[derive(Debug)]
struct Awaited {
    change: Change,
    since: Instant,
    first: Arc<FirstDecision>,
}

impl Writer {
    /// Takes over from the start, which published generation 1.
    #[must_use]
    pub fn new(
        config: PathBuf,
        sources: Sources,
        (inventory, guards): (Inventory, Guards),
        live: Live,
        meters: watch::Sender<Arc<Meters>>,
        mut gauges: ReloadGauges,
    ) -> Writer {
        let serving = live.serving();
        gauges.applied(&serving.plan, false);
        gauges.published(serving.generation);
        let started = (serving.plan.process.clone(), serving.plan.listeners.clone());
        keep(&serving.plan.process.state_dir, &sources);
        let overlaid = Overlaid::new(serving.plan.process.state_dir.clone());
        Writer {
            config,
            live,
            meters,
            gauges,
            started,
            applied: Arc::new(Applied { sources: Arc::new(sources), inventory, guards }),
            refused: None,
            retired: Vec::new(),
            keeping: Keeping::default(),
            overlaid,
            glimpsing: JoinSet::new(),
            glimpse_wanted: None,
            overlay_broken: false,
            looking: JoinSet::new(),
            underway: Wanted::default(),
            wanted: Wanted::default(),
            awaited: None,
        }
    }

    /// Obeys commands until nobody can send one. Files are read, compiled and kept beside it, so that a kill
    /// waits for nothing but its own way to the disk, and for that of orders before it.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(FIRST_DECISION_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                Some(found) = self.looking.join_next() => {
                    // An error is the end of the process.
                    self.found(found.unwrap_or(Found::Nothing));
                }
                Some(glimpse) = self.glimpsing.join_next() => {
                    // Neither is there when the process ends.
                    if let Ok(Some(glimpse)) = glimpse {
                        self.glimpsed(glimpse);
                    }
                }
                () = self.keeping.step(), if self.keeping.is_busy() => {}
                _ = tick.tick(), if self.awaited.is_some() => {}
            }
            self.look();
            self.glimpse();
            self.note_first_decision();
            self.end_retired();
        }
    }

    async fn obey(&mut self, command: Command) {
        // Who asked may have gone; what was done counts all the same.
        match command {
            Command::Look { noticed } => self.wanted.want(noticed, None),
            Command::Glimpse { noticed } => {
                self.glimpse_wanted.get_or_insert(noticed);
            }
            Command::Load(answer) => self.wanted.want(Instant::now(), Some(answer)),
            Command::Kill { order, answer } => {
                let killed = self.kill(&order).await;
                let changed = killed.as_ref().map(|killed| matches!(killed, Killed::Now { .. }));
                self.tell(OrderKind::Kill, &order, changed);
                answer.send(killed).ok();
            }
            Command::Restore { order, answer } => {
                let restored = self.restore(&order).await;
                let changed = restored.as_ref().map(|restored| matches!(restored, Restored::Now { .. }));
                self.tell(OrderKind::Restore, &order, changed);
                answer.send(restored).ok();
            }
        }
    }

    /// Starts the look that is wanted, unless one is under way.
    fn look(&mut self) {
        if self.wanted.since.is_none() || !self.looking.is_empty() {
            return;
        }
        self.underway = std::mem::take(&mut self.wanted);
        let look = Look {
            config: self.config.clone(),
            applied: Arc::clone(&self.applied),
            refused: self.refused.clone(),
            asked: self.underway.is_asked(),
            serving: self.live.serving(),
        };
        self.looking.spawn(look.run(aside::thread));
    }

    fn found(&mut self, found: Found) {
        let outcome = match found {
            // As after the next, the watch has them looked at again.
            Found::Nothing => Outcome::Unsettled,
            Found::Unsettled => {
                tracing::warn!("the files keep changing: they are looked at again when they rest");
                Outcome::Unsettled
            }
            Found::InForce => {
                if self.refused.take().is_some() || self.underway.is_asked() {
                    self.gauges.unchanged();
                    tracing::info!("the configuration on disk is the one in force");
                }
                Outcome::Unchanged
            }
            Found::Known => Outcome::Unchanged,
            Found::Refused(reading, report) => self.reject(report, reading),
            Found::Next(next) if !Arc::ptr_eq(&next.overlay, &self.live.serving().overlay) => {
                // A toggle was killed or restored meanwhile, and that decides who moves. However often: orders go first.
                let (serving, applied) = (self.live.serving(), Arc::clone(&self.applied));
                self.looking.spawn(next.judge_again(serving, applied, aside::thread()));
                return;
            }
            Found::Next(next) => self.apply(*next),
        };
        if self.wanted.is_asked() {
            self.wanted.earlier = Some(outcome.clone());
        }
        let Wanted { answers, earlier, .. } = std::mem::take(&mut self.underway);
        let outcome = match (outcome, earlier) {
            (Outcome::Unchanged, Some(applied @ Outcome::Applied { .. })) => applied,
            (outcome, _) => outcome,
        };
        for answer in answers {
            // Who asked may have gone; the load counts all the same.
            answer.send(outcome.clone()).ok();
        }
    }

    fn apply(&mut self, next: Next) -> Outcome {
        let Next { sources, compiled, judged, overlay: _, changes, meters } = next;
        let before = self.live.serving();
        let Judged { churn, idle } = match judged {
            Ok(judged) => judged,
            Err(report) => {
                aside::end((compiled, changes, meters));
                return self.reject(report, Arc::new(Ok(Sources::clone(&sources))));
            }
        };
        let now = Timestamp(jiff::Timestamp::now().as_second());
        let notices = compiled.notices(now).chain(&idle).map(Problem::line);
        let notices: Vec<String> = notices.chain(before.overlay.strays_told(&compiled.plan)).collect();
        let mut plan = compiled.plan;
        let restart_required = keep_bound(&mut plan, &self.started, &before.plan.listeners);
        if plan.ofrep.is_none() {
            // The listener stays bound until the next start, and so do its keys.
            plan.ofrep = before.plan.ofrep.as_ref().map(|settings| settings.moved(&before.plan, &plan));
        }
        self.gauges.applied(&plan, restart_required);
        let state_dir = plan.process.state_dir.clone();
        let since = self.underway.since.unwrap_or_else(Instant::now);
        let generation = self.publish(Arc::new(plan), Arc::clone(&before.overlay), meters, Change::Files, since);
        drop(before);
        for notice in notices {
            tracing::warn!("{notice}");
        }
        tracing::info!(generation, %changes, "configuration reloaded");
        saying::churn(generation, &churn);
        if restart_required {
            tracing::warn!(
                "workers, state_dir, listeners, admin, telemetry and ofrep.address change with the next start"
            );
        }
        self.keeping.want(state_dir, Arc::clone(&sources));
        let applied = Applied { sources, inventory: compiled.inventory, guards: compiled.guards };
        aside::end(std::mem::replace(&mut self.applied, Arc::new(applied)));
        self.refused = None;
        Outcome::Applied { generation, changes, churn }
    }

    fn reject(&mut self, report: Report, reading: Arc<Reading>) -> Outcome {
        self.gauges.rejected();
        let generation = self.live.serving().generation;
        saying::rejected(generation, &report);
        self.refused = Some(reading);
        Outcome::Rejected(report)
    }

    async fn kill(&mut self, order: &Order) -> Result<Killed, OrderError> {
        order.check()?;
        let before = self.live.serving();
        let configured = before.plan.toggle_ids.contains_key(&order.toggle);
        if !configured && !before.overlay.kills.contains_key(&order.toggle) {
            return Err(unknown(&order.toggle, names(&before.plan)));
        }
        let at = jiff::Timestamp::now().as_second();
        let kill = Kill { by: order.by.clone(), at, note: order.note.clone() };
        let toggle = order.toggle.clone();
        let change = move |overlay: &mut Overlay| match overlay.kills.entry(toggle) {
            Entry::Occupied(earlier) => Some(earlier.get().clone()),
            Entry::Vacant(place) => {
                place.insert(kill);
                None
            }
        };
        let (generation, earlier) = self.order(&before, change).await?;
        Ok(earlier.map_or(Killed::Now { generation }, Killed::Already))
    }

    async fn restore(&mut self, order: &Order) -> Result<Restored, OrderError> {
        order.check()?;
        let before = self.live.serving();
        let killed = &before.overlay.kills;
        if !before.plan.toggle_ids.contains_key(&order.toggle) && !killed.contains_key(&order.toggle) {
            return Err(unknown(&order.toggle, killed.keys().map(String::as_str).chain(names(&before.plan))));
        }
        let toggle = order.toggle.clone();
        let (generation, kill) = self.order(&before, move |overlay| overlay.kills.remove(&toggle)).await?;
        Ok(kill.map_or(Restored::NotKilled, |kill| Restored::Now { generation, kill }))
    }

    /// Puts the overlay in force that a change makes of the file, once it is on the disk.
    async fn order<T: Send + 'static>(
        &mut self,
        before: &Serving,
        change: impl FnOnce(&mut Overlay) -> T + Send + 'static,
    ) -> Result<(u64, T), OrderError> {
        let since = Instant::now();
        let (overlay, said) = self.overlaid.change(&before.overlay, change).await?;
        // What another process ordered comes with it.
        Ok((self.overlay(before, overlay, since), said))
    }

    /// Puts an overlay in force that is on the disk, unless it is.
    fn overlay(&mut self, before: &Serving, overlay: Overlay, since: Instant) -> u64 {
        if overlay == *before.overlay {
            return before.generation;
        }
        // What was refused may move fewer users now, or none.
        self.refused = None;
        let meters = Arc::clone(&before.meters);
        self.publish(Arc::clone(&before.plan), Arc::new(overlay), meters, Change::Overlay, since)
    }

    /// Starts the glimpse that is wanted, unless one is under way.
    fn glimpse(&mut self) {
        if self.glimpsing.is_empty()
            && let Some(noticed) = self.glimpse_wanted.take()
        {
            let before = Arc::clone(&self.live.serving().overlay);
            self.glimpsing.spawn(self.overlaid.clone().glimpse(noticed, before));
        }
    }

    fn glimpsed(&mut self, Glimpse { noticed, before, found }: Glimpse) {
        let serving = self.live.serving();
        if !Arc::ptr_eq(&serving.overlay, &before) {
            // It was read before an order of this process was written, or after: nobody can tell.
            self.glimpse_wanted.get_or_insert(noticed);
            return;
        }
        match found {
            Ok(found) => {
                self.overlay_broken = false;
                let Some(overlay) = found.filter(|overlay| overlay != &*before) else { return };
                let changes = saying::changes(&before, &overlay);
                let generation = self.overlay(&serving, overlay, noticed);
                tracing::warn!(generation, %changes, "toggle overlay changed by another process on this state_dir");
            }
            Err(error) => {
                if !std::mem::replace(&mut self.overlay_broken, true) {
                    tracing::error!(%error, "the overlay in force stays, and the next order writes the file anew");
                }
            }
        }
    }

    /// The only place that publishes.
    fn publish(
        &mut self,
        plan: Arc<Plan>,
        overlay: Arc<Overlay>,
        meters: Arc<Meters>,
        change: Change,
        since: Instant,
    ) -> u64 {
        // The one before may have been decided on just now.
        self.note_first_decision();
        let before = self.live.serving();
        let generation = before.generation + 1;
        let next = Serving::new(plan, overlay, Arc::clone(&meters), generation);
        self.awaited = Some(Awaited { change, since, first: Arc::clone(&next.first_decision) });
        self.gauges.published(generation);
        self.live.publish(next);
        self.meters.send_replace(meters);
        self.retired.push(before);
        generation
    }

    /// Ends the snapshots that no request is served from any more.
    fn end_retired(&mut self) {
        let gone: Vec<_> = self.retired.extract_if(.., |serving| Arc::strong_count(serving) == 1).collect();
        if !gone.is_empty() {
            aside::end(gone);
        }
    }

    fn note_first_decision(&mut self) {
        let awaited = self.awaited.take_if(|awaited| awaited.first.at().is_some());
        if let Some(Awaited { change, since, first }) = awaited {
            let took = first.at().map_or(Duration::ZERO, |at| at.saturating_duration_since(since));
            self.gauges.decided(change, took);
        }
    }

    fn tell(&self, kind: OrderKind, Order { toggle, by, note }: &Order, changed: Result<bool, &OrderError>) {
        let generation = self.live.serving().generation;
        let outcome = match changed {
            Ok(true) => OrderOutcome::Applied,
            Ok(false) => OrderOutcome::Unchanged,
            Err(_) => OrderOutcome::Refused,
        };
        self.gauges.ordered(kind, outcome);
        let order = kind.as_str();
        match changed {
            Ok(true) => tracing::warn!(order, ?toggle, ?by, ?note, generation, "toggle overlay changed"),
            Ok(false) => tracing::info!(order, ?toggle, ?by, generation, "toggle overlay is so already"),
            Err(error) => tracing::error!(order, ?toggle, ?by, generation, %error, "toggle overlay not changed"),
        }
    }
}

impl Wanted {
    fn want(&mut self, noticed: Instant, answer: Option<oneshot::Sender<Outcome>>) {
        self.since = Some(self.since.map_or(noticed, |since| since.min(noticed)));
        self.answers.extend(answer);
    }

    fn is_asked(&self) -> bool {
        !self.answers.is_empty()
    }
}

fn names(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.toggles.iter().map(|planned| &*planned.toggle.name)
}

fn unknown<'a>(toggle: &str, names: impl Iterator<Item = &'a str>) -> OrderError {
    let hint = did_you_mean(toggle, names).unwrap_or_else(|| "`weir toggle list` prints all of them".to_owned());
    OrderError::UnknownToggle { toggle: toggle.to_owned(), hint }
}

#[cfg(test)]
mod tests;
