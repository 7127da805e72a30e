//! Observe: what is seen of toggles while they decide, written to `state_dir` once a minute and at the end.
//!
//! *Invariants*
//! - It reads meters and snapshots and decides nothing; without it everything is served.
//! - It looks and writes aside: neither many toggles nor a slow volume hold anything else up.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use crate::{
    aside,
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
    observed: Observed,
    fresh: Counts,
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
        let (fresh, counted) = (Counts::new(), BTreeMap::new());
        Observer { live, published, state_dir, gauges, observed, fresh, counted, failing: false }
    }

    /// Observes until it is told to stop, and writes a last time.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut tick = tokio::time::interval(WRITE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.published.mark_changed();
        loop {
            let write = tokio::select! {
                changed = self.published.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let _ = self.published.borrow_and_update();
                    false
                }
                _ = tick.tick() => true,
                _ = &mut stop => break,
            };
            // Without it, it panicked, which was told of.
            let Some(observer) = self.observe(write).await else { return };
            self = observer;
        }
        if tokio::time::timeout(LAST_WRITE_MAX, self.observe(true)).await.is_err() {
            tracing::warn!("what was seen of toggles could not be written in time");
        }
    }

    /// Looks at what is served, and writes what was seen. Aside: it goes through every toggle.
    async fn observe(mut self, write: bool) -> Option<Observer> {
        // It is looked again within a minute.
        let Ok(thread) = aside::thread() else { return Some(self) };
        let observe = move || {
            self.look();
            if write {
                self.write();
            }
            self
        };
        thread.run(observe).await
    }

    fn look(&mut self) {
        let (serving, now) = (self.live.serving(), Timestamp(jiff::Timestamp::now().as_second()));
        self.gauges.show(&serving.plan, &serving.standing, now);
        self.note(&serving, now);
    }

    fn note(&mut self, serving: &Serving, moment: Timestamp) {
        let Timestamp(now) = moment;
        let mut given = serving.plan.given_to_all(&serving.standing, moment, Span::FromNowOn);
        for (place, planned) in serving.plan.toggles.iter().enumerate() {
            let toggle = &planned.toggle;
            let seen = self.observed.toggles.entry(toggle.name.clone());
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
                    let fresh = self.fresh.entry(toggle.name.clone()).or_default();
                    *fresh.entry(name.to_owned()).or_default() += count - *counted;
                    *counted = count;
                    seen.last_decision = Some(now);
                }
            }
        }
    }

    fn write(&mut self) {
        let now = jiff::Timestamp::now().as_second();
        match keep_observed(&self.state_dir, &self.observed, &self.fresh, now) {
            Ok(kept) => {
                self.observed = kept;
                self.fresh.clear();
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
