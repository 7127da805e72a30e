//! Harvest: moves what the cells hold to the exporter's own counters.

use std::{collections::HashMap, sync::Arc};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level as Verbosity, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{
    cells::{Count, Durations, Level},
    meters::{EndpointCells, EndpointMeter, LaneMeter, Meters, ToggleMeter},
    names::{
        self, ATTEMPTS, BUCKETS, CAUSES, CHECK_OUTCOMES, CODES, DURATION_BUCKETS_SECONDS, HANDSHAKE_OUTCOMES, Metric,
        OFREP_ENDPOINTS, REFUSAL_CAUSES, RETIREMENT_CAUSES, RETRIED, SURFACES,
    },
    ofrep::OfrepCells,
    wire::{LOST_OUTCOMES, MEMBER_OUTCOMES, OVERRIDE_OUTCOMES},
};
use crate::{
    identity::TOKEN_OUTCOMES,
    toggle::{REASON_CODES, Reason},
};

/// The exporter's handles, made when a cell is first seen to be used.
pub(super) struct Harvest {
    recorder: Arc<PrometheusRecorder>,
    counters: HashMap<Series, Counter>,
    gauges: HashMap<Series, Gauge>,
    histograms: HashMap<Series, (Histogram, [(u64, u64); BUCKETS])>,
}

/// One time series: the metric, the meter (by its address, which never changes: a register keeps
/// every meter) and the place of the cell in it.
type Series = (&'static str, usize, usize);

fn decision_labels<'a>(toggle: &'a str, variant: &'a str, reason: &'a str, surface: &'a str) -> Labels<'a> {
    vec![("toggle", toggle), ("variant", variant), ("reason", reason), ("surface", surface)]
}

/// One count of an endpoint's cells.
type OfEndpoint = fn(&EndpointCells) -> &Count;

/// Label names with their values.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Harvest {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>) -> Harvest {
        for metric in names::ALL {
            let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
            match metric.name {
                name_text if name_text.ends_with("_total") => recorder.describe_counter(name, None, help),
                name_text if name_text.ends_with("duration_seconds") || name_text.ends_with("decision_seconds") => {
                    recorder.describe_histogram(name, None, help)
                }
                _ => recorder.describe_gauge(name, None, help),
            }
        }
        Harvest { recorder, counters: HashMap::new(), gauges: HashMap::new(), histograms: HashMap::new() }
    }

    /// Moves everything; the exporter's counters then equal the cells.
    pub(super) fn gather(&mut self, meters: &Meters) {
        self.gather_workers(meters);
        self.gather_ofrep(&meters.ofrep);
        self.gather_wire(meters);
        for lane in meters.all_lanes.meters.values() {
            self.gather_lane(lane);
        }
        for toggle in meters.all_toggles.meters.values() {
            self.gather_toggle(toggle);
        }
        for check in meters.all_checks.meters.values() {
            let [route, contract, mode] = check.labels() else { continue };
            // As routes, most of them are idle.
            if check.used().next().is_none() {
                continue;
            }
            for (place, outcome) in CHECK_OUTCOMES.iter().enumerate() {
                let count = check.used().map(|cells| cells.0[place].read()).sum();
                let labels = vec![("route", &**route), ("contract", contract), ("mode", mode), ("outcome", outcome)];
                self.count(names::CHECKS, (address(&**check), place), labels, count);
            }
        }
        for endpoint in meters.all_endpoints.meters.values() {
            self.gather_endpoint(endpoint);
        }
    }

    fn gather_endpoint(&mut self, endpoint: &EndpointMeter) {
        let [name] = endpoint.labels() else { return };
        let at = address(endpoint);
        let and = |label, value| vec![("endpoint", &**name), (label, value)];
        let level = |of: fn(&EndpointCells) -> &Level| endpoint.used().map(|cells| of(cells).read()).sum();
        let count = |of: fn(&EndpointCells) -> &Count| endpoint.used().map(|cells| of(cells).read()).sum();
        self.level(names::UPSTREAM_CONNECTIONS, (at, 0), and("state", "idle"), level(|cells| &cells.idle));
        self.level(names::UPSTREAM_CONNECTIONS, (at, 1), and("state", "active"), level(|cells| &cells.active));
        self.level(names::UPSTREAM_HOSTS, (at, 0), and("state", "known"), level(|cells| &cells.hosts));
        self.level(names::UPSTREAM_HOSTS, (at, 1), and("state", "healthy"), level(|cells| &cells.healthy));
        self.level(names::UPSTREAM_HOSTS, (at, 2), and("state", "ejected"), level(|cells| &cells.ejected));
        self.count(names::UPSTREAM_EJECTIONS, (at, 0), vec![("endpoint", name)], count(|cells| &cells.ejections));
        let outcomes: [(Metric, usize, &str, OfEndpoint); 9] = [
            (names::UPSTREAM_CONNECTS, 0, "connected", |cells| &cells.connected),
            (names::UPSTREAM_CONNECTS, 1, "failed", |cells| &cells.failed),
            (names::UPSTREAM_CONNECTS, 2, "timed_out", |cells| &cells.timed_out),
            (names::UPSTREAM_CONNECTS, 3, "tls_failed", |cells| &cells.tls_failed),
            (names::UPSTREAM_CONNECTS, 4, "loop", |cells| &cells.loops),
            (names::UPSTREAM_CHECKS, 0, "passed", |cells| &cells.checks_passed),
            (names::UPSTREAM_CHECKS, 1, "failed", |cells| &cells.checks_failed),
            (names::UPSTREAM_LOOKUPS, 0, "resolved", |cells| &cells.resolved),
            (names::UPSTREAM_LOOKUPS, 1, "failed", |cells| &cells.unresolved),
        ];
        for (metric, place, outcome, of) in outcomes {
            self.count(metric, (at, place), and("outcome", outcome), count(of));
        }
    }

    fn gather_workers(&mut self, meters: &Meters) {
        let workers = meters.workers.iter();
        self.level(names::IN_FLIGHT, (0, 0), vec![], workers.clone().map(|cells| cells.in_flight.read()).sum());
        self.level(names::TUNNELS, (0, 0), vec![], workers.clone().map(|cells| cells.tunnels.read()).sum());
        self.count(
            names::CLAIMS_DROPPED,
            (0, 0),
            vec![],
            workers.clone().map(|cells| cells.claims_dropped.read()).sum(),
        );
        for (place, outcome) in TOKEN_OUTCOMES.iter().enumerate() {
            let count = workers.clone().map(|cells| cells.tokens[place].read()).sum();
            self.count(names::TOKENS, (0, place), vec![("outcome", outcome)], count);
        }
        let dropped = workers.clone().map(|cells| cells.lines_dropped.read()).sum::<u64>() + meters.lines_lost.read();
        self.count(names::LINES_DROPPED, (0, 0), vec![], dropped);
        for (place, name) in meters.listener_names.iter().enumerate() {
            let listeners = workers.clone().map(|cells| &cells.listeners[place]);
            let labels = || vec![("listener", &**name)];
            self.level(
                names::CONNECTIONS,
                (0, place),
                labels(),
                listeners.clone().map(|cells| cells.open.read()).sum(),
            );
            let resting = listeners.clone().map(|cells| cells.resting.read()).sum();
            self.level(names::CONNECTIONS_RESTING, (0, place), labels(), resting);
            let accepted = listeners.clone().map(|cells| cells.accepted.read()).sum();
            self.count(names::CONNECTIONS_ACCEPTED, (0, place), labels(), accepted);
            for (kind, cause) in REFUSAL_CAUSES.iter().enumerate() {
                let labels = vec![("listener", &**name), ("cause", cause)];
                let count = listeners.clone().map(|cells| cells.refused[kind].read()).sum();
                self.count(names::CONNECTIONS_REFUSED, (place, kind), labels, count);
            }
            for (kind, cause) in RETIREMENT_CAUSES.iter().enumerate() {
                let labels = vec![("listener", &**name), ("cause", cause)];
                let count = listeners.clone().map(|cells| cells.retired[kind].read()).sum();
                self.count(names::CONNECTIONS_RETIRED, (place, kind), labels, count);
            }
            let failed = listeners.clone().map(|cells| cells.preamble_failed.read()).sum();
            self.count(names::PREAMBLES_FAILED, (0, place), labels(), failed);
            for (kind, outcome) in HANDSHAKE_OUTCOMES.iter().enumerate() {
                let labels = vec![("listener", &**name), ("outcome", outcome)];
                let count = listeners.clone().map(|cells| cells.handshakes[kind].read()).sum();
                self.count(names::HANDSHAKES, (place, kind), labels, count);
            }
        }
    }

    fn gather_wire(&mut self, meters: &Meters) {
        let cells = meters.workers.iter().map(|cells| &cells.wire);
        for (place, outcome) in MEMBER_OUTCOMES.into_iter().enumerate() {
            let count = cells.clone().map(|cells| cells.members[place].read()).sum();
            self.count(names::MEMBERS, (0, place), vec![("outcome", outcome)], count);
        }
        for (place, outcome) in OVERRIDE_OUTCOMES.into_iter().enumerate() {
            let count = cells.clone().map(|cells| cells.overrides[place].read()).sum();
            self.count(names::OVERRIDES, (0, place), vec![("outcome", outcome)], count);
        }
        for (place, outcome) in LOST_OUTCOMES.into_iter().enumerate() {
            let count = cells.clone().map(|cells| cells.lost()[place].read()).sum();
            self.count(names::DECISIONS_LOST, (0, place), vec![("outcome", outcome)], count);
        }
        self.count(names::KEYS_MINTED, (0, 0), vec![], cells.map(|cells| cells.keys_minted.read()).sum());
        for toggle in meters.all_divergences.meters.values() {
            let [name] = toggle.labels() else { continue };
            // Of ten thousand toggles few travel, and fewer diverge.
            if toggle.used().next().is_none() {
                continue;
            }
            let count = toggle.used().map(super::cells::Count::read).sum();
            self.count(names::DIVERGENCES, (address(&**toggle), 0), vec![("toggle", name)], count);
        }
    }

    fn gather_lane(&mut self, lane: &LaneMeter) {
        let [route, service, arm] = lane.labels() else { return };
        // Most of ten thousand routes are idle.
        if lane.used().next().is_none() {
            return;
        }
        let at = address(lane);
        let labels = || vec![("route", &**route), ("service", &**service), ("arm", &**arm)];
        let and = |name, value| labels().into_iter().chain([(name, value)]).collect();
        for (place, code) in CODES.iter().enumerate() {
            let count = lane.used().map(|cells| cells.codes[place].read()).sum();
            self.count(names::REQUESTS, (at, place), and("code", code), count);
        }
        for (place, cause) in CAUSES.iter().enumerate() {
            let count = lane.used().map(|cells| cells.rejections[place].read()).sum();
            let labels = labels().into_iter().chain([("cause", cause.code), ("error", cause.error)]).collect();
            self.count(names::REJECTIONS, (at, place), labels, count);
        }
        self.count(names::FAILOVERS, (at, 0), labels(), lane.used().map(|cells| cells.failovers.read()).sum());
        self.count(names::BROKEN_OFF, (at, 0), labels(), lane.used().map(|cells| cells.broken_off.read()).sum());
        for (place, outcome) in ATTEMPTS.iter().enumerate() {
            let count = lane.used().map(|cells| cells.first_attempts[place].read()).sum();
            self.count(names::FIRST_ATTEMPTS, (at, place), and("outcome", outcome), count);
        }
        for (place, outcome) in RETRIED.iter().enumerate() {
            let count = lane.used().map(|cells| cells.retries[place].read()).sum();
            self.count(names::RETRIES, (at, place), and("outcome", outcome), count);
        }
        self.durations(names::REQUEST_SECONDS, at, &labels, &lane.used().map(|cells| &cells.request));
        self.durations(names::UPSTREAM_SECONDS, at, &labels, &lane.used().map(|cells| &cells.upstream));
    }

    fn gather_toggle(&mut self, toggle: &ToggleMeter) {
        let [name, variant] = toggle.labels() else { return };
        // Most of ten thousand toggles are asked by nobody, and most reasons are never given.
        if toggle.used().next().is_none() {
            return;
        }
        let mut pinned = 0;
        for (surface, workers) in toggle.surfaces().into_iter().enumerate() {
            for (place, reason) in REASON_CODES.iter().enumerate() {
                let count: u64 =
                    workers.iter().filter_map(|cells| cells.get()).map(|cells| cells.0[place].read()).sum();
                if place == Reason::Pinned.index() {
                    pinned += count;
                    continue;
                }
                if count == 0 {
                    continue;
                }
                let labels = decision_labels(name, variant, reason, SURFACES[surface]);
                let place = surface * REASON_CODES.len() + place;
                self.count(names::DECISIONS, (address(toggle), place), labels, count);
            }
        }
        let labels = decision_labels(name, variant, Reason::Pinned.code(), names::PIN);
        self.count(names::DECISIONS, (address(toggle), Reason::Pinned.index()), labels, pinned);
    }

    fn gather_ofrep(&mut self, cells: &OfrepCells) {
        for (endpoint, counted) in OFREP_ENDPOINTS.into_iter().zip(&cells.endpoints) {
            let at = address(counted);
            for (place, code) in CODES.iter().enumerate() {
                let labels = vec![("endpoint", endpoint), ("code", code)];
                self.count(names::OFREP_REQUESTS, (at, place), labels, counted.codes[place].read());
            }
            let labels = || vec![("endpoint", endpoint)];
            self.durations(names::OFREP_SECONDS, at, &labels, &std::iter::once(&counted.durations));
        }
        self.level(names::OFREP_STREAMS, (0, 0), vec![], cells.streams.read());
        self.count(names::UNKNOWN_TOGGLES, (0, 0), vec![], cells.unknown.count());
    }

    fn count(&mut self, metric: Metric, (at, place): (usize, usize), labels: Labels<'_>, count: u64) {
        // Cells only count up: what is 0 was never shown.
        if count == 0 {
            return;
        }
        let recorder = &self.recorder;
        let handle = self.counters.entry((metric.name, at, place)).or_insert_with(|| counter(recorder, metric, labels));
        handle.absolute(count);
    }

    #[expect(clippy::cast_precision_loss, reason = "levels are far below 2^52")]
    fn level(&mut self, metric: Metric, (at, place): (usize, usize), labels: Labels<'_>, level: u64) {
        let recorder = &self.recorder;
        let handle = self.gauges.entry((metric.name, at, place)).or_insert_with(|| gauge(recorder, metric, labels));
        handle.set(level as f64);
    }

    /// Records each bucket's new durations as so many times their mean: the mean of a bucket falls in
    /// that bucket, so counts, buckets and the sum stay exact.
    #[expect(clippy::cast_precision_loss, reason = "a second of nanoseconds keeps its precision up to 2^52")]
    fn durations<'a>(
        &mut self,
        metric: Metric,
        at: usize,
        labels: &dyn Fn() -> Labels<'a>,
        cells: &(impl Iterator<Item = &'a Durations> + Clone),
    ) {
        for bucket in 0..BUCKETS {
            let read = cells.clone().map(|durations| durations.bucket(bucket));
            let (count, sum_ns) = read.fold((0, 0_u64), |left, right| (left.0 + right.0, left.1.wrapping_add(right.1)));
            if count == 0 {
                continue;
            }
            let recorder = &self.recorder;
            let (handle, seen) = self
                .histograms
                .entry((metric.name, at, 0))
                .or_insert_with(|| (histogram(recorder, metric, labels()), [(0, 0); BUCKETS]));
            let (new, new_ns) = (count - seen[bucket].0, sum_ns.wrapping_sub(seen[bucket].1));
            if new == 0 {
                continue;
            }
            seen[bucket] = (count, sum_ns);
            // A duration that is being counted may be in the sum and not yet in the count.
            let mean_seconds = (new_ns as f64 / new as f64 / 1e9).clamp(lower_bound(bucket), upper_bound(bucket));
            handle.record_many(mean_seconds, usize::try_from(new).unwrap_or(usize::MAX));
        }
    }
}

/// Just inside the bucket: the bound itself belongs to the one below.
fn lower_bound(bucket: usize) -> f64 {
    bucket.checked_sub(1).map_or(0.0, |below| DURATION_BUCKETS_SECONDS[below].next_up())
}

fn upper_bound(bucket: usize) -> f64 {
    DURATION_BUCKETS_SECONDS.get(bucket).copied().unwrap_or(f64::INFINITY)
}

const METADATA: Metadata<'static> = Metadata::new("weir", Verbosity::INFO, None);

pub(super) fn counter(recorder: &PrometheusRecorder, metric: Metric, labels: Labels<'_>) -> Counter {
    recorder.register_counter(&key(metric, labels), &METADATA)
}

pub(super) fn gauge(recorder: &PrometheusRecorder, metric: Metric, labels: Labels<'_>) -> Gauge {
    recorder.register_gauge(&key(metric, labels), &METADATA)
}

pub(super) fn histogram(recorder: &PrometheusRecorder, metric: Metric, labels: Labels<'_>) -> Histogram {
    recorder.register_histogram(&key(metric, labels), &METADATA)
}

fn key(metric: Metric, labels: Labels<'_>) -> Key {
    let labels: Vec<Label> = labels.into_iter().map(|(name, value)| Label::new(name, value.to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

fn address<T>(meter: &T) -> usize {
    std::ptr::from_ref(meter).addr()
}
