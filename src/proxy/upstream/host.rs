//! Endpoints and their hosts: an endpoint is what is configured, a host is one address of it. What a worker
//! learns of a host stays as long as the endpoint is configured and the address is its.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    path::Path,
    rc::Rc,
    sync::Arc,
};

use tokio::time::Instant;

use super::{connect::OwnAddresses, load::Load, outlier::Record, pool::Pool, resolve::Resolver, survey::Sight};
use crate::{
    plan::{Endpoint as Settings, Limits, Place, Timeouts},
    telemetry::{EndpointCells, EndpointMeter},
};

/// What all endpoints of one worker share.
#[derive(Debug)]
pub(in crate::proxy) struct Shared {
    pub(super) worker: usize,
    pub(super) workers: usize,
    pub(super) own: OwnAddresses,
    pub(super) resolver: Resolver,
    /// Open connections to all of them.
    pub(super) open: Cell<usize>,
}

/// What all hosts of one endpoint share.
#[derive(Debug)]
pub(super) struct About {
    pub(super) settings: Settings,
    pub(super) shared: Rc<Shared>,
    meter: Arc<EndpointMeter>,
}

/// One configured endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    about: Rc<About>,
    hosts: RefCell<Vec<Rc<Host>>>,
}

/// One address of an endpoint.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) about: Rc<About>,
    pub(super) at: At,
    pub(super) pool: Pool,
    pub(super) load: Load,
    pub(super) record: Record,
    /// What active checks say.
    up: Cell<bool>,
    /// When it came, or came back, to others that were there.
    since: Cell<Option<Instant>>,
}

/// Where one host is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::proxy) enum At {
    Address(SocketAddr),
    Unix(Arc<Path>),
    /// A name that was not looked up yet: whoever connects does it.
    Name,
}

impl Shared {
    pub(in crate::proxy) fn new(worker: usize, workers: usize, own: OwnAddresses, resolver: Resolver) -> Rc<Shared> {
        Rc::new(Shared { worker, workers, own, resolver, open: Cell::new(0) })
    }

    /// This worker's part of a limit.
    pub(super) fn part(&self, limit: usize) -> usize {
        limit.div_ceil(self.workers)
    }
}

impl About {
    pub(super) fn cells(&self) -> &EndpointCells {
        self.meter.cells(self.shared.worker)
    }
}

impl At {
    /// Where an endpoint is without having been looked up.
    pub(super) fn first(place: &Place) -> At {
        match place {
            Place::Address(address) => At::Address(*address),
            Place::Unix(path) => At::Unix(Arc::clone(path)),
            Place::Name { .. } => At::Name,
        }
    }
}

impl Endpoint {
    /// `since` it came to others that were there.
    pub(super) fn new(
        settings: Settings,
        meter: Arc<EndpointMeter>,
        shared: Rc<Shared>,
        since: Option<Instant>,
    ) -> Rc<Endpoint> {
        let about = Rc::new(About { settings, shared, meter });
        let first = Host::new(&about, At::first(&about.settings.place), since);
        Rc::new(Endpoint { about, hosts: RefCell::new(vec![first]) })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.about.settings
    }

    pub(super) fn hosts(&self) -> Vec<Rc<Host>> {
        self.hosts.borrow().clone()
    }

    /// Takes over the limits of the next generation.
    pub(super) fn adjust(&self, limits: &Limits, timeouts: &Timeouts) {
        self.hosts.borrow().iter().for_each(|host| host.pool.adjust(limits, timeouts));
    }

    /// Takes over what the control thread sees: the hosts that stay keep all that is known of them.
    pub(super) fn see(&self, sight: &Sight, limits: &Limits, timeouts: &Timeouts) {
        let mut hosts = self.hosts.borrow_mut();
        let now = Instant::now();
        // Those that are there from the start share alike; of a name that was not looked up they are as new as it.
        let known = hosts.iter().any(|host| host.at != At::Name);
        let since = if known { Some(now) } else { hosts.first().and_then(|host| host.since.get()) };
        let seen = sight.hosts.iter().map(|(at, up)| {
            let host = hosts.iter().find(|host| host.at == *at).cloned().unwrap_or_else(|| {
                let host = Host::new(&self.about, at.clone(), since);
                host.pool.adjust(limits, timeouts);
                host
            });
            host.see(*up, now);
            host
        });
        *hosts = seen.collect();
    }
}

impl Host {
    fn new(about: &Rc<About>, at: At, since: Option<Instant>) -> Rc<Host> {
        Rc::new(Host {
            about: Rc::clone(about),
            at,
            pool: Pool::default(),
            load: Load::default(),
            record: Record::default(),
            up: Cell::new(true),
            since: Cell::new(since),
        })
    }

    pub(super) fn cells(&self) -> &EndpointCells {
        self.about.cells()
    }

    /// Whether active checks find it well, or there are none.
    pub(super) fn is_up(&self) -> bool {
        self.up.get()
    }

    fn see(&self, up: bool, now: Instant) {
        if up && !self.up.get() {
            self.came_back(now);
        }
        self.up.set(up);
    }

    /// It starts slowly again.
    pub(super) fn came_back(&self, now: Instant) {
        self.since.set(Some(now));
    }

    /// The part of its share that it gets already, from 0 to 1.
    pub(super) fn warmth(&self, slow_start: std::time::Duration, now: Instant) -> f64 {
        let Some(since) = self.since.get() else { return 1.0 };
        let part = now.saturating_duration_since(since).as_secs_f64() / slow_start.as_secs_f64();
        if part >= 1.0 {
            self.since.set(None);
        }
        part.clamp(0.1, 1.0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.record.is_in() {
            self.about.cells().ejected.fall();
        }
        self.pool.close(self.about.cells());
    }
}
