//! The survey: what the control thread sees of endpoints, once for all workers. It looks their names up,
//! asks whether they are well, and tells the workers when something changed.
//!
//! Once for the process and not once a worker: a service is asked as often however many cores weir has, and
//! all workers agree on who is well.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use super::{
    connect::OwnAddresses,
    health::{Streak, check},
    host::At,
    resolve::Resolver,
};
use crate::{
    live::Live,
    plan::{Endpoint, EndpointId, HealthCheck, Place},
    telemetry::{EndpointMeter, Meters},
};

/// Reports that may wait to be taken in.
const REPORTS_WAITING_MAX: usize = 64;

/// What was seen of the endpoints that are looked up or asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sights(Arc<HashMap<Endpoint, Sight>>);

/// What was seen of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Where its hosts are, and whether they are well.
    pub(super) hosts: Vec<(At, bool)>,
}

/// The task that looks.
#[derive(Debug)]
pub struct Survey {
    live: Live,
    published: watch::Receiver<Arc<Meters>>,
    own: OwnAddresses,
    sights: watch::Sender<Sights>,
    resolver: Resolver,
    /// A look-up takes a turn, of so many in all.
    turns: (usize, Arc<Semaphore>),
    tasks: JoinSet<()>,
    watched: HashMap<Watched, AbortHandle>,
}

/// One endpoint, and how its name is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watched {
    endpoint: Endpoint,
    dns: Duration,
    dns_refresh: Duration,
    lookups_max: usize,
}

type Report = (Endpoint, Sight);

impl Sights {
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<&Sight> {
        self.0.get(endpoint)
    }
}

impl Survey {
    /// Follows the endpoints of the plans that are `published`.
    #[must_use]
    pub fn new(
        live: Live,
        published: watch::Receiver<Arc<Meters>>,
        own: OwnAddresses,
        resolver: Resolver,
        sights: watch::Sender<Sights>,
    ) -> Survey {
        Survey {
            live,
            published,
            own,
            sights,
            resolver,
            turns: (0, Arc::new(Semaphore::new(0))),
            tasks: JoinSet::new(),
            watched: HashMap::new(),
        }
    }

    /// Runs until no plan can come any more.
    pub async fn run(mut self) {
        let (reports, mut reported) = mpsc::channel(REPORTS_WAITING_MAX);
        self.follow(&reports);
        loop {
            tokio::select! {
                changed = self.published.changed() => match changed {
                    Ok(()) => self.follow(&reports),
                    Err(_closed) => return,
                },
                Some((endpoint, sight)) = reported.recv() => self.take_in(endpoint, sight),
                Some(_ended) = self.tasks.join_next() => {}
            }
        }
    }

    /// Watches what is configured now, and nothing else.
    fn follow(&mut self, reports: &mpsc::Sender<Report>) {
        let serving = self.live.serving();
        let meters = Arc::clone(&self.published.borrow_and_update());
        let (plan, timeouts) = (&serving.plan, &serving.plan.timeouts);
        let lookups_max = plan.limits.dns_lookups_max;
        if self.turns.0 != lookups_max {
            self.turns = (lookups_max, Arc::new(Semaphore::new(lookups_max.min(Semaphore::MAX_PERMITS))));
        }
        let mut watched = HashMap::new();
        for (place, endpoint) in plan.endpoints.iter().enumerate() {
            // Its meter exists when its plan is the published one; else the next change is near.
            let Some(meter) = meters.endpoint_named(EndpointId(place), &endpoint.authority) else { continue };
            if !matches!(endpoint.place, Place::Name { .. }) && endpoint.health.is_none() {
                let cells = meter.cells(meters.control());
                cells.hosts.set(1);
                cells.healthy.set(1);
                continue;
            }
            let (dns, dns_refresh) = (timeouts.dns, timeouts.dns_refresh);
            let key = Watched { endpoint: endpoint.clone(), dns, dns_refresh, lookups_max };
            let task = self.watched.remove(&key).unwrap_or_else(|| {
                let known = self.sights.borrow().of(endpoint).cloned();
                let watch = Watch {
                    key: key.clone(),
                    own: self.own.clone(),
                    resolver: self.resolver.clone(),
                    turns: Arc::clone(&self.turns.1),
                    meter: Arc::clone(meter),
                    control: meters.control(),
                    reports: reports.clone(),
                    hosts: Vec::new(),
                };
                self.tasks.spawn_local(watch.run(known))
            });
            watched.insert(key, task);
        }
        self.watched.drain().for_each(|(_, task)| task.abort());
        self.watched = watched;
        let stays = |endpoint: &Endpoint| self.watched.keys().any(|key| key.endpoint == *endpoint);
        let kept = self.sights.borrow().0.iter().filter(|(endpoint, _)| stays(endpoint)).map(clone).collect();
        self.tell(kept);
    }

    fn take_in(&mut self, endpoint: Endpoint, sight: Sight) {
        let mut sights = HashMap::clone(&self.sights.borrow().0);
        sights.insert(endpoint, sight);
        self.tell(sights);
    }

    fn tell(&self, sights: HashMap<Endpoint, Sight>) {
        let sights = Sights(Arc::new(sights));
        self.sights.send_if_modified(|told| {
            let news = *told != sights;
            *told = sights;
            news
        });
    }
}

fn clone((endpoint, sight): (&Endpoint, &Sight)) -> Report {
    (endpoint.clone(), sight.clone())
}

/// Watches one endpoint.
struct Watch {
    key: Watched,
    own: OwnAddresses,
    resolver: Resolver,
    turns: Arc<Semaphore>,
    meter: Arc<EndpointMeter>,
    control: usize,
    reports: mpsc::Sender<Report>,
    hosts: Vec<Watching>,
}

/// One host that is watched.
struct Watching {
    at: At,
    up: bool,
    /// The task that asks it.
    asking: Option<AbortHandle>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.asking.iter().for_each(AbortHandle::abort);
    }
}

impl Watch {
    async fn run(mut self, known: Option<Sight>) {
        let (found, mut findings) = mpsc::channel::<(At, bool)>(REPORTS_WAITING_MAX);
        let mut asking = JoinSet::new();
        let mut tick = tokio::time::interval(self.key.dns_refresh);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let first = At::first(&self.key.endpoint.place);
        let named = first == At::Name;
        match known {
            Some(sight) => self.settle(sight.hosts, &mut asking, &found),
            None if named => {}
            None => self.settle(vec![(first, true)], &mut asking, &found),
        }
        loop {
            tokio::select! {
                _ = tick.tick(), if named => {
                    if let Some(addresses) = self.look_up().await {
                        let was_up = |at: &At| self.hosts.iter().find(|host| host.at == *at).is_none_or(|host| host.up);
                        let hosts = addresses.into_iter().map(At::Address).map(|at| (at.clone(), was_up(&at)));
                        let hosts = hosts.collect();
                        self.settle(hosts, &mut asking, &found);
                        self.report().await;
                    }
                }
                Some((at, up)) = findings.recv() => {
                    if let Some(host) = self.hosts.iter_mut().find(|host| host.at == at && host.up != up) {
                        host.up = up;
                        let word = if up { "well again" } else { "not well" };
                        tracing::warn!(endpoint = %self.key.endpoint.authority, host = ?at, "health checks find a host {word}");
                        self.report().await;
                    }
                }
                Some(_ended) = asking.join_next() => {}
            }
        }
    }

    /// `None` leaves the last good answer in force.
    async fn look_up(&self) -> Option<Vec<SocketAddr>> {
        let Place::Name { host, port } = &self.key.endpoint.place else { return None };
        let _turn = self.turns.acquire().await.ok()?;
        let answer = self.resolver.addresses(host, *port, self.key.dns).await;
        let cells = self.meter.cells(self.control);
        if answer.is_some() {
            cells.resolved.add_one()
        } else {
            cells.unresolved.add_one()
        }
        answer
    }

    /// Watches these hosts from now on; those that stay go on as they are.
    fn settle(&mut self, hosts: Vec<(At, bool)>, asking: &mut JoinSet<()>, found: &mpsc::Sender<(At, bool)>) {
        let mut before = std::mem::take(&mut self.hosts);
        for (at, up) in hosts {
            if let Some(place) = before.iter().position(|host| host.at == at) {
                self.hosts.push(before.swap_remove(place));
                continue;
            }
            let health = self.key.endpoint.health.clone();
            let task = health.map(|health| {
                let host = Asked {
                    endpoint: self.key.endpoint.clone(),
                    at: at.clone(),
                    own: self.own.clone(),
                    resolver: self.resolver.clone(),
                    meter: Arc::clone(&self.meter),
                    control: self.control,
                };
                asking.spawn_local(host.ask(health, up, found.clone()))
            });
            self.hosts.push(Watching { at, up, asking: task });
        }
        self.show();
    }

    async fn report(&self) {
        self.show();
        let hosts = self.hosts.iter().map(|host| (host.at.clone(), host.up)).collect();
        // The survey ends before its tasks: then nobody has to know.
        self.reports.send((self.key.endpoint.clone(), Sight { hosts })).await.ok();
    }

    fn show(&self) {
        let cells = self.meter.cells(self.control);
        cells.hosts.set(self.hosts.len() as u64);
        cells.healthy.set(self.hosts.iter().filter(|host| host.up).count() as u64);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let cells = self.meter.cells(self.control);
        cells.hosts.set(0);
        cells.healthy.set(0);
    }
}

/// One host that is asked whether it is well.
struct Asked {
    endpoint: Endpoint,
    at: At,
    own: OwnAddresses,
    resolver: Resolver,
    meter: Arc<EndpointMeter>,
    control: usize,
}

impl Asked {
    async fn ask(self, health: HealthCheck, up: bool, found: mpsc::Sender<(At, bool)>) {
        let mut streak = Streak::new(up);
        loop {
            let well = check(&self.endpoint, &health, &self.at, (&self.own, &self.resolver)).await;
            let cells = self.meter.cells(self.control);
            if well {
                cells.checks_passed.add_one()
            } else {
                cells.checks_failed.add_one()
            }
            if found.send((self.at.clone(), streak.note(well, &health))).await.is_err() {
                return;
            }
            // Not all at once, whoever started them.
            tokio::time::sleep(health.interval.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
        }
    }
}
