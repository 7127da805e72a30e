//! Observe: what is seen of toggles while they decide, written to `state_dir` once a minute and at the end.
//!
//! *Invariants*
//! - It reads meters and snapshots and decides nothing; without it everything is served.
//! - It looks and writes aside: neither many toggles nor a slow volume hold anything else up. A volume that hangs keeps
//!   one thread and no more, and a stop waits for it within a limit.
//! - What could not be written is written with the next try.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    aside::{self, Thread},
    live::{Live, Serving},
    plan::Span,
    store::{Counts, Observed, Settled, Sighting, keep_observed, kept_observed},
    telemetry::{Meters, ToggleGauges},
    toggle::{Timestamp, ToggleId, VariantId},
};

/// How often it is written.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How long the last write may hold up the end of the process.
const LAST_WRITE_MAX: Duration = Duration::from_secs(5);

/// The task's state.
#[derive(Debug)]
pub struct Observer {
    live: Live,
    published: watch::Receiver<Arc<Meters>>,
    state_dir: PathBuf,
    gauges: ToggleGauges,
    /// As it was kept last, but for what was decided since.
    observed: Arc<Observed>,
    fresh: Arc<Counts>,
    /// What of each meter was counted already, by toggle and variant.
    counted: BTreeMap<(String, String), u64>,
    /// Whether the last write failed, so that it is told once.
    failing: bool,
}

impl Observer {
    /// Goes on from what was kept.
    #[must_use]
    pub fn new(live: Live, published: watch::Receiver<Arc<Meters>>, gauges: ToggleGauges) -> Observer {
        let state_dir = live.serving().plan.process.state_dir.clone();
        let observed = kept_observed(&state_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was seen of toggles before is lost: ages and counts start anew");
            Observed::default()
        });
        let (observed, fresh, counted) = (Arc::new(observed), Arc::default(), BTreeMap::new());
        Observer { live, published, state_dir, gauges, observed, fresh, counted, failing: false }
    }

    /// Observes until it is told to stop, and writes a last time.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut tick = tokio::time::interval(WRITE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.published.mark_changed();
        // The write that is under way.
        let mut writing = JoinSet::new();
        loop {
            let write = tokio::select! {
                changed = self.published.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let _ = self.published.borrow_and_update();
                    false
                }
                Some(Ok(kept)) = writing.join_next() => {
                    self.written(kept);
                    continue;
                }
                _ = tick.tick() => true,
                _ = &mut stop => break,
            };
            // Without it, it panicked, which was told of.
            let Some(observer) = self.look(aside::thread(), writing.is_empty()).await else { return };
            self = observer;
            if write && writing.is_empty() {
                writing.spawn(self.write(aside::thread()));
            } else if write {
                self.written(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        if tokio::time::timeout(LAST_WRITE_MAX, self.end(writing)).await.is_err() {
            tracing::warn!("what was seen of toggles could not be written in time");
        }
    }

    async fn end(mut self, mut writing: JoinSet<io::Result<Observed>>) {
        if let Some(Ok(kept)) = writing.join_next().await {
            self.written(kept);
        }
        if let Some(mut observer) = self.look(aside::thread(), true).await {
            let kept = observer.write(aside::thread()).await;
            observer.written(kept);
        }
    }

    /// Looks at what is served, aside: it goes through every toggle. What is being written is not changed meanwhile.
    async fn look(mut self, thread: io::Result<Thread>, note: bool) -> Option<Observer> {
        // It is looked again within a minute.
        let Ok(thread) = thread else { return Some(self) };
        let look = move || {
            let (serving, now) = (self.live.serving(), Timestamp(jiff::Timestamp::now().as_second()));
            self.gauges.show(&serving.plan, &serving.standing, now);
            if note {
                self.note(&serving, now);
            }
            self
        };
        thread.run(look).await
    }

    fn note(&mut self, serving: &Serving, moment: Timestamp) {
        let Timestamp(now) = moment;
        // Neither is copied: nobody else has it now.
        let (observed, fresh) = (Arc::make_mut(&mut self.observed), Arc::make_mut(&mut self.fresh));
        let mut given = serving.plan.given_to_all(&serving.standing, moment, Span::FromNowOn);
        for (place, planned) in serving.plan.toggles.iter().enumerate() {
            let toggle = &planned.toggle;
            let seen = observed.toggles.entry(toggle.name.clone());
            let seen = seen.or_insert_with(|| Sighting { first_seen: now, ..Sighting::default() });
            seen.last_seen = now;
            let serves = toggle.serves(planned.share());
            if seen.serves != serves {
                seen.serves = serves;
                seen.serves_since = now;
            }
            let settled = given.by(ToggleId(place)).map(|given| toggle.variant_name(given.choice.variant));
            if seen.settled.as_ref().map(|settled| &*settled.variant) != settled {
                seen.settled = settled.map(|variant| Settled { variant: variant.to_owned(), since: now });
            }
            let variants =
                toggle.variants.iter().enumerate().map(|(place, variant)| (Some(VariantId(place)), &*variant.name));
            for (variant, name) in variants.chain([(None, "")]) {
                let count = serving.meters.decisions(ToggleId(place), variant);
                if count == 0 {
                    continue;
                }
                let counted = self.counted.entry((toggle.name.clone(), name.to_owned())).or_default();
                if count > *counted {
                    let fresh = fresh.entry(toggle.name.clone()).or_default();
                    *fresh.entry(name.to_owned()).or_default() += count - *counted;
                    *counted = count;
                    seen.last_decision = Some(now);
                }
            }
        }
    }

    /// Writes what was seen so far.
    fn write(&self, thread: io::Result<Thread>) -> impl Future<Output = io::Result<Observed>> + use<> {
        let (observed, fresh, state_dir) =
            (Arc::clone(&self.observed), Arc::clone(&self.fresh), self.state_dir.clone());
        async move {
            let now = jiff::Timestamp::now().as_second();
            let kept = thread?.run(move || keep_observed(&state_dir, &observed, &fresh, now)).await;
            kept.unwrap_or_else(|| Err(io::Error::other("it panicked")))
        }
    }

    fn written(&mut self, kept: io::Result<Observed>) {
        match kept {
            Ok(kept) => {
                aside::end((std::mem::replace(&mut self.observed, Arc::new(kept)), std::mem::take(&mut self.fresh)));
                self.failing = false;
            }
            Err(error) => {
                self.gauges.write_failed();
                if !self.failing {
                    let state_dir = self.state_dir.display();
                    tracing::warn!(%error, "what is seen of toggles cannot be kept in {state_dir}: check weir.state_dir");
                }
                self.failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, path::Path, process::Command};

    use super::*;
    use crate::{
        plan::{Kill, Overlay, sample::Sample},
        store::OBSERVED,
        telemetry::{Exporter, Scrape},
        toggle::Reason,
    };

    /// What an observer of one toggle, `t`, is beside.
    struct Scene {
        live: Live,
        meters: watch::Sender<Arc<Meters>>,
        scrape: Scrape,
    }

    fn scene(state_dir: &Path) -> (Scene, Observer) {
        let mut plan = Sample::default().toggle("t", |_| {}).plan();
        plan.process.state_dir = state_dir.to_owned();
        let first = Arc::new(Meters::new(&plan, 1));
        let (meters, published) = watch::channel(Arc::clone(&first));
        let live = Live::new(Serving::new(Arc::new(plan), Arc::default(), first, 1));
        let (exporter, scrape, _, gauges) = Exporter::new(published.clone()).unwrap();
        tokio::spawn(exporter.run());
        let observer = Observer::new(live.clone(), published, gauges);
        (Scene { live, meters, scrape }, observer)
    }

    impl Scene {
        fn decide(&self) {
            self.live.serving().meters.toggle(ToggleId(0), Some(VariantId(0))).cells(0).decided(Reason::Default);
        }

        fn kill(&self) {
            let before = self.live.serving();
            let kill = Kill { by: "ada".to_owned(), at: 0, note: None };
            let overlay = Arc::new(Overlay { kills: [("t".to_owned(), kill)].into() });
            self.live.publish(Serving::new(Arc::clone(&before.plan), overlay, Arc::clone(&before.meters), 2));
            self.meters.send_replace(Arc::clone(&before.meters));
        }

        async fn shows(&self, line: &str) {
            let asked = std::time::Instant::now();
            while !self.scrape.render().await.unwrap().lines().any(|shown| shown == line) {
                assert!(asked.elapsed() < Duration::from_secs(60), "never {line}");
                tokio::task::yield_now().await;
            }
        }
    }

    fn decisions(state_dir: &Path) -> u64 {
        kept_observed(state_dir).unwrap().toggles["t"].decisions.values().sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_that_hangs_holds_up_neither_looks_nor_a_stop() {
        let state_dir = tempfile::tempdir().unwrap();
        let (scene, observer) = scene(state_dir.path());
        // Who opens a pipe waits for its other end, and who reads from it waits for that to write or close.
        let pipe = state_dir.path().join(OBSERVED);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (stop, stopping) = oneshot::channel();
        let observing = tokio::spawn(observer.run(stopping));
        let hanging = tokio::task::spawn_blocking(|| OpenOptions::new().write(true).open(pipe).unwrap()).await;
        scene.kill();
        scene.shows("weir_toggle_state{toggle=\"t\",state=\"killed\"} 1").await;
        tokio::time::advance(WRITE_EVERY).await;
        scene.shows("weir_toggle_observations_unwritten_total 1").await;
        stop.send(()).unwrap();
        tokio::time::timeout(2 * LAST_WRITE_MAX, observing).await.expect("it stops").unwrap();
        drop(hanging);
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_once_with_the_next() {
        let state_dir = tempfile::tempdir().unwrap();
        let (scene, mut observer) = scene(state_dir.path());
        // One panics, and one is not to be had.
        for (number, thread) in (1..).zip([Ok(Thread::dead()), Err(io::Error::other("no thread"))]) {
            scene.decide();
            observer = observer.look(aside::thread(), true).await.unwrap();
            let kept = observer.write(thread).await;
            observer.written(kept);
            scene.shows(&format!("weir_toggle_observations_unwritten_total {number}")).await;
        }
        observer = observer.look(Err(io::Error::other("no thread")), true).await.unwrap();
        for _ in 0..2 {
            let kept = observer.write(aside::thread()).await;
            observer.written(kept);
            assert_eq!(decisions(state_dir.path()), 2);
        }
        scene.decide();
        observer.end(JoinSet::new()).await;
        assert_eq!(decisions(state_dir.path()), 3);
    }
}
