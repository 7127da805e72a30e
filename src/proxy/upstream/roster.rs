//! Rosters: the hosts of an arm, and who of them serves the next request.
//!
//! Of two random hosts the one with less to do (Mitzenmacher, "The Power of Two Choices", 2001), by their
//! load. The toggle has decided the arm before: nothing here ever leaves it.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::time::Instant;

use super::{
    host::{Endpoint, Host, Shared},
    outlier::{Verdict, may_eject},
    usage::Usage,
};
use crate::plan::{Arm, ArmLimits, Balance, Ejection};

/// Random draws before every host is looked at.
const DRAWS_MAX: usize = 8;

/// The hosts of one arm, in one generation.
#[derive(Debug)]
pub(super) struct Roster {
    endpoints: Vec<(Rc<Endpoint>, u32)>,
    seats: RefCell<Rc<Seats>>,
    shared: Rc<Shared>,
    ejection: Option<Ejection>,
    slow_start: Option<Duration>,
    pub(super) limits: ArmLimits,
    pub(super) usage: Rc<Usage>,
}

#[derive(Debug)]
struct Seats {
    hosts: Vec<Seat>,
    /// Of all weights.
    total: u64,
    even: bool,
    balance: Balance,
}

#[derive(Debug)]
struct Seat {
    host: Rc<Host>,
    weight: u32,
    /// Of the weights up to this one.
    sum: u64,
}

/// One request to one host, from before it is connected to until it has ended. Whoever knows how it went
/// says so; a ticket that is dropped without that tells nothing of its host.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) host: Rc<Host>,
    seats: Rc<Seats>,
    ejection: Option<Ejection>,
    begun: Option<Instant>,
    probe: bool,
}

impl Roster {
    pub(super) fn new(arm: &Arm, endpoints: Vec<(Rc<Endpoint>, u32)>, usage: Rc<Usage>, shared: Rc<Shared>) -> Roster {
        let seats = RefCell::new(Rc::new(Seats::new(&endpoints, arm.balance)));
        let Arm { ejection, slow_start, limits, .. } = *arm;
        Roster { endpoints, seats, shared, ejection, slow_start, limits, usage }
    }

    /// Looks again which hosts the endpoints have.
    pub(super) fn resettle(&self) {
        let balance = self.seats.borrow().balance;
        self.seats.replace(Rc::new(Seats::new(&self.endpoints, balance)));
    }

    /// This worker's part of a limit.
    pub(super) fn part(&self, limit: usize) -> usize {
        self.shared.part(limit)
    }

    /// How many hosts there are.
    pub(super) fn len(&self) -> usize {
        self.seats.borrow().hosts.len()
    }

    /// Connections that are open to all of them.
    pub(super) fn open(&self) -> usize {
        self.seats.borrow().hosts.iter().map(|seat| seat.host.pool.open().get()).sum()
    }

    /// Closes an idle connection to any of them.
    pub(super) fn close_one(&self) -> bool {
        self.seats.borrow().hosts.iter().any(|seat| seat.host.pool.close_one(seat.host.cells()))
    }

    /// Who serves next, of those that were not tried for this request.
    pub(super) fn choose(&self, tried: &[Rc<Host>]) -> Option<Ticket> {
        let seats = Rc::clone(&self.seats.borrow());
        if let [only] = &*seats.hosts {
            // Alone it cannot be ejected, and there is nothing to compare.
            let host = (only.host.is_up() && tried.is_empty()).then(|| Rc::clone(&only.host))?;
            let probe = !host.record.is_in();
            return Some(Ticket::new(host, seats, self.ejection, None, probe));
        }
        let now = Instant::now();
        let (host, probe) = seats.choose(tried, self.slow_start, now)?;
        Some(Ticket::new(host, seats, self.ejection, Some(now), probe))
    }
}

impl Seats {
    fn new(endpoints: &[(Rc<Endpoint>, u32)], balance: Balance) -> Seats {
        let (mut hosts, mut total) = (Vec::new(), 0);
        for (endpoint, weight) in endpoints {
            for host in endpoint.hosts() {
                total += u64::from(*weight);
                hosts.push(Seat { host, weight: *weight, sum: total });
            }
        }
        let even = endpoints.iter().all(|(_, weight)| *weight == endpoints[0].1);
        Seats { hosts, total, even, balance }
    }

    /// The host, and whether it is asked to find out if it is well again.
    fn choose(&self, tried: &[Rc<Host>], slow_start: Option<Duration>, now: Instant) -> Option<(Rc<Host>, bool)> {
        let free = |seat: &Seat| seat.host.is_up() && !tried.iter().any(|host| Rc::ptr_eq(host, &seat.host));
        let mut first: Option<usize> = None;
        for _ in 0..DRAWS_MAX {
            let place = self.draw();
            let seat = &self.hosts[place];
            if !free(seat) {
                continue;
            }
            match seat.host.record.verdict(now) {
                Verdict::ProbeDue => return Some((Rc::clone(&seat.host), true)),
                Verdict::Out => continue,
                Verdict::In => {}
            }
            match first {
                None => first = Some(place),
                // Of equal hosts two different ones; with weights, drawing one twice is part of its share.
                Some(other) if other == place && self.even => {}
                Some(other) => return Some((self.lighter(other, place, slow_start, now), false)),
            }
        }
        if let Some(only) = first {
            return Some((Rc::clone(&self.hosts[only].host), false));
        }
        let well = self.hosts.iter().find(|seat| free(seat) && seat.host.record.is_in());
        // Somebody has to do it, even when all were ejected.
        let seat = well.or_else(|| self.hosts.iter().find(|seat| free(seat)))?;
        Some((Rc::clone(&seat.host), !seat.host.record.is_in()))
    }

    fn draw(&self) -> usize {
        if self.even {
            return fastrand::usize(..self.hosts.len());
        }
        let slot = fastrand::u64(..self.total);
        self.hosts.partition_point(|seat| seat.sum <= slot)
    }

    fn lighter(&self, left: usize, right: usize, slow_start: Option<Duration>, now: Instant) -> Rc<Host> {
        let cost = |seat: &Seat| seat.host.load.cost(seat.weight, self.balance.decay, now);
        let (left, right) = (&self.hosts[left], &self.hosts[right]);
        let (mut chosen, mut other) = if cost(left) <= cost(right) { (left, right) } else { (right, left) };
        if let Some(slow_start) = slow_start {
            let (chosen_warmth, other_warmth) =
                (chosen.host.warmth(slow_start, now), other.host.warmth(slow_start, now));
            if chosen_warmth < other_warmth && fastrand::f64() >= chosen_warmth {
                std::mem::swap(&mut chosen, &mut other);
            }
        }
        Rc::clone(&chosen.host)
    }
}

impl Ticket {
    fn new(
        host: Rc<Host>,
        seats: Rc<Seats>,
        ejection: Option<Ejection>,
        begun: Option<Instant>,
        probe: bool,
    ) -> Ticket {
        host.load.begin();
        if probe {
            host.record.probe();
        }
        Ticket { host, seats, ejection, begun, probe }
    }

    /// The host answered.
    pub(super) fn succeeded(&mut self) {
        if let Some(begun) = self.begun {
            let now = Instant::now();
            self.host.load.observe(now - begun, self.seats.balance.decay, now);
        }
        if self.host.record.succeeded(Instant::now) {
            self.host.cells().ejected.fall();
            self.host.came_back(Instant::now());
        }
        self.probe = false;
    }

    /// The host failed the request.
    pub(super) fn failed(&mut self) {
        let now = Instant::now();
        // However soon it came: else the host that fails fastest would get most.
        let Balance { decay, penalty } = self.seats.balance;
        self.host.load.observe(penalty, decay, now);
        let Some(policy) = self.ejection else { return };
        let was_in = self.host.record.is_in();
        let hosts = &self.seats.hosts;
        let enough = || {
            let ejected = hosts.iter().filter(|seat| !seat.host.record.is_in()).count();
            may_eject(hosts.len(), ejected, &policy)
        };
        if self.host.record.failed(&policy, now, enough, fastrand::f64) {
            let cells = self.host.cells();
            cells.ejections.add_one();
            if was_in {
                cells.ejected.rise();
            }
            tracing::warn!(
                endpoint = %self.host.about.settings.authority,
                host = ?self.host.at,
                "an endpoint failed again and again: it is left alone for a while"
            );
        }
        self.probe = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.host.load.end();
        if self.probe {
            self.host.record.probe_lost(Instant::now());
        }
    }
}
