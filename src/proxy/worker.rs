//! Workers: one thread, one current-thread runtime, one set of listeners, pools and cells each.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{
    access_log::{Line, Lines},
    asking::Peer,
    bound::{Bound, Listening, SocketFile},
    decided::Decided,
    drain::Drain,
    in_flight::{Directory, Listed, Questions},
    listener,
    rejection::Manner,
    tokens::Tokens,
    tunnel::{Place, Places},
    upstream::{OwnAddresses, Resolver, Shared, Sights, Upstreams},
};
use crate::{
    live::{Follower, Live, Serving},
    plan::{Decision, LaneId, Listener, Plan, Standing, ToggleId},
    propagation,
    telemetry::{LaneCells, Level, ToggleCells, WorkerCells},
    toggle::{Timestamp, VariantId},
};

/// How often pools are looked through for connections that were idle for too long, or that their peers closed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What one worker keeps; shared by its connections.
#[derive(Debug)]
pub(super) struct Worker {
    index: usize,
    workers: usize,
    follower: RefCell<Follower>,
    snapshot: RefCell<Rc<Snapshot>>,
    shared: Rc<Shared>,
    sights: watch::Receiver<Sights>,
    directory: Rc<Directory>,
    drain: Drain,
    connections: Cell<usize>,
    in_flight: Cell<usize>,
    handshakes: Cell<usize>,
    /// Open connections of each client that is not trusted.
    sources: RefCell<HashMap<IpAddr, usize>>,
}

/// One generation, with what this worker knows of its endpoints.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) serving: Arc<Serving>,
    worker: usize,
    pub(super) upstreams: Upstreams,
    directory: Rc<Directory>,
    lines: Lines,
    /// The same for all generations.
    places: Places,
    /// Until its first decision.
    undecided: Cell<bool>,
    /// The fields that tell applications each carried toggle's variants. A worker has its own, since a
    /// shared one would be counted up and down by all of them.
    app_headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    tokens: Tokens,
}

/// All workers.
#[derive(Debug)]
pub struct Crew {
    threads: Vec<JoinHandle<()>>,
    finished: Vec<oneshot::Receiver<()>>,
    /// Removed with the crew.
    _files: Vec<SocketFile>,
}

/// What workers are told of the upstream side by the rest of the process.
#[derive(Clone, Debug)]
pub struct Upstreamward {
    /// Where weir itself listens.
    pub own: OwnAddresses,
    /// How names are looked up until the control thread has done so.
    pub resolver: Resolver,
    /// What the control thread sees of endpoints.
    pub sights: watch::Receiver<Sights>,
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its thread.
    #[error("a worker's thread could not be started")]
    Thread(#[source] io::Error),
}

impl Crew {
    /// Starts a worker for each of the `questions`' ends. They serve until `drain` says so, then finish what
    /// is in flight.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        live: &Live,
        bound: Vec<Bound>,
        questions: Vec<Questions>,
        lines: &Lines,
        drain: &watch::Receiver<Option<Duration>>,
        upstreamward: &Upstreamward,
    ) -> Result<Crew, WorkerError> {
        let workers = questions.len();
        let mut sockets: Vec<Vec<Listening>> = std::iter::repeat_with(Vec::new).take(workers).collect();
        let mut files = Vec::new();
        for listener in bound {
            files.extend(listener.file);
            for (worker, socket) in listener.sockets.into_iter().enumerate() {
                sockets[worker].push(socket);
            }
        }
        let mut crew = Crew { threads: Vec::new(), finished: Vec::new(), _files: files };
        for (index, (sockets, questions)) in sockets.into_iter().zip(questions).enumerate() {
            let (live, lines, drain, upstreamward) = (live.clone(), lines.clone(), drain.clone(), upstreamward.clone());
            let (done, finished) = oneshot::channel();
            let body = move || {
                if let Err(error) = run((index, workers), &live, sockets, questions, &lines, &drain, upstreamward) {
                    tracing::error!(worker = index, %error, "worker failed");
                }
                // Nobody waits for it any more when the process is being dropped.
                done.send(()).ok();
            };
            let thread = thread::Builder::new().name(format!("weir-worker-{index}")).spawn(body);
            crew.threads.push(thread.map_err(WorkerError::Thread)?);
            crew.finished.push(finished);
        }
        Ok(crew)
    }

    /// Waits until every worker has ended.
    pub async fn join(self) {
        for finished in self.finished {
            // An error is a worker that panicked on its way out: it has ended all the same.
            drop(finished.await);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn run(
    (index, workers): (usize, usize),
    live: &Live,
    sockets: Vec<Listening>,
    questions: Questions,
    lines: &Lines,
    drain: &watch::Receiver<Option<Duration>>,
    upstreamward: Upstreamward,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let worker = Rc::new(Worker::new((index, workers), live, lines, upstreamward));
        let mut accepting = JoinSet::new();
        for (place, socket) in sockets.into_iter().enumerate() {
            accepting.spawn_local(listener::accept(Rc::clone(&worker), socket, place));
        }
        let mut upkeep = JoinSet::new();
        upkeep.spawn_local(told_to_drain(Rc::clone(&worker), drain.clone()));
        upkeep.spawn_local(sweep(Rc::clone(&worker)));
        upkeep.spawn_local(questions.answer(Rc::clone(&worker.directory)));
        upkeep.spawn_local(look_out(worker));
        while let Some(ended) = accepting.join_next().await {
            // A panic was told of already.
            ended.unwrap_or(Ok(()))?;
        }
        upkeep.shutdown().await;
        io::Result::Ok(())
    })?;
    // A name that is still being looked up holds nobody back.
    runtime.shutdown_background();
    Ok(())
}

async fn told_to_drain(worker: Rc<Worker>, mut told: watch::Receiver<Option<Duration>>) {
    let timeout = match told.wait_for(Option::is_some).await {
        Ok(timeout) => timeout.unwrap_or_default(),
        // Whoever could tell is gone: nothing is left to wait for.
        Err(_closed) => Duration::ZERO,
    };
    worker.drain.begin(timeout);
}

async fn sweep(worker: Rc<Worker>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        let now = tick.tick().await;
        worker.snapshot().upstreams.sweep(now);
    }
}

/// Takes over what the control thread sees of endpoints.
async fn look_out(worker: Rc<Worker>) {
    let mut sights = worker.sights.clone();
    while sights.changed().await.is_ok() {
        let snapshot = worker.snapshot();
        snapshot.upstreams.see(&sights.borrow_and_update(), &snapshot.serving.plan);
    }
}

impl Worker {
    fn new(
        (index, workers): (usize, usize),
        live: &Live,
        lines: &Lines,
        Upstreamward { own, resolver, sights }: Upstreamward,
    ) -> Worker {
        let mut follower = live.follow();
        let shared = Shared::new(index, workers, own, resolver);
        let directory = Rc::new(Directory::default());
        let serving = Arc::clone(follower.current());
        let upstreams = Upstreams::new(&serving, &shared, &sights.borrow(), None);
        let places = Places::new(workers);
        let snapshot = Snapshot::new(serving, index, &directory, lines, &places, upstreams);
        Worker {
            shared,
            sights,
            index,
            workers,
            follower: RefCell::new(follower),
            snapshot: RefCell::new(Rc::new(snapshot)),
            directory,
            drain: Drain::default(),
            connections: Cell::new(0),
            in_flight: Cell::new(0),
            handshakes: Cell::new(0),
            sources: RefCell::new(HashMap::new()),
        }
    }

    /// The snapshot in force, for one request to keep.
    pub(super) fn snapshot(&self) -> Rc<Snapshot> {
        let mut follower = self.follower.borrow_mut();
        let serving = follower.current();
        let mut snapshot = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(serving, &snapshot.serving) {
            let earlier = Some((&*snapshot.serving.plan, &snapshot.upstreams));
            let upstreams = Upstreams::new(serving, &self.shared, &self.sights.borrow(), earlier);
            let (serving, places) = (Arc::clone(serving), &snapshot.places);
            let next = Snapshot::new(serving, self.index, &self.directory, &snapshot.lines, places, upstreams);
            *snapshot = Rc::new(next);
        }
        Rc::clone(&snapshot)
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(super) fn in_flight(&self) -> &Cell<usize> {
        &self.in_flight
    }

    pub(super) fn connections(&self) -> &Cell<usize> {
        &self.connections
    }

    pub(super) fn handshakes(&self) -> &Cell<usize> {
        &self.handshakes
    }

    pub(super) fn sources(&self) -> &RefCell<HashMap<IpAddr, usize>> {
        &self.sources
    }

    /// This worker's part of the limit on connections of one source.
    pub(super) fn connections_per_source_max(&self) -> usize {
        self.snapshot.borrow().serving.plan.limits.connections_per_source_max.div_ceil(self.workers)
    }

    /// This worker's part of the limit on TLS handshakes under way.
    pub(super) fn handshakes_max(&self) -> usize {
        self.snapshot.borrow().serving.plan.limits.tls_handshakes_max.div_ceil(self.workers)
    }

    /// This worker's part of the limit on requests in flight.
    pub(super) fn requests_max(&self) -> usize {
        self.snapshot.borrow().serving.plan.limits.requests_max.div_ceil(self.workers)
    }

    /// This worker's part of the limit on connections.
    pub(super) fn connections_max(&self) -> usize {
        self.snapshot.borrow().serving.plan.limits.connections_max.div_ceil(self.workers)
    }

    /// A listener's `connection_age_max` and `requests_per_connection_max`.
    pub(super) fn tenure_max(&self, listener: usize) -> (Option<Duration>, Option<u64>) {
        let listener = &self.snapshot.borrow().serving.plan.listeners[listener];
        (listener.connection_age_max, listener.requests_per_connection_max)
    }

    /// What this worker counts of itself; the same cells in every generation.
    pub(super) fn cells(&self) -> std::cell::Ref<'_, WorkerCells> {
        std::cell::Ref::map(self.snapshot.borrow(), |snapshot| snapshot.serving.meters.worker(self.index))
    }
}

impl Snapshot {
    fn new(
        serving: Arc<Serving>,
        worker: usize,
        directory: &Rc<Directory>,
        lines: &Lines,
        places: &Places,
        upstreams: Upstreams,
    ) -> Snapshot {
        let app_headers = app_headers(&serving.plan);
        let directory = Rc::clone(directory);
        let lines = lines.clone();
        Snapshot {
            serving,
            worker,
            upstreams,
            directory,
            lines,
            places: places.clone(),
            app_headers,
            tokens: Tokens::default(),
            undecided: Cell::new(true),
        }
    }

    /// The listener that the peer came by, as it is configured now.
    pub(super) fn listener(&self, peer: &Peer) -> &Listener {
        // Every plan has the listeners that are bound, in their order: the reload sees to it, so that no
        // peer is ever taken for that of another listener.
        &self.serving.plan.listeners[peer.listener]
    }

    /// Gives a line to the access log.
    pub(super) fn log(&self, line: Box<Line>) {
        if !self.lines.give(line) {
            self.serving.meters.worker(self.worker).lines_dropped.add_one();
        }
    }

    /// What operators changed, for decisions.
    pub(super) fn standing(&self) -> &Standing {
        &self.serving.standing
    }

    /// The time, for decisions; no clock is read when none depends on it.
    pub(super) fn now(&self) -> Timestamp {
        if !self.serving.plan.timed && self.serving.plan.keyring().is_none() {
            return Timestamp::default();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// The fields that tell applications each carried toggle's variants, where they are told at all.
    pub(super) fn app_headers(&self) -> &[(HeaderName, Vec<HeaderValue>)] {
        &self.app_headers
    }

    pub(super) fn lane(&self, lane: LaneId) -> &LaneCells {
        self.serving.meters.lane(lane).cells(self.worker)
    }

    pub(super) fn outside(&self) -> &LaneCells {
        self.serving.meters.outside.cells(self.worker)
    }

    /// A request was decided on this snapshot.
    pub(super) fn note_decision(&self) {
        if self.undecided.take() {
            self.serving.first_decision.note();
        }
    }

    pub(super) fn toggle(&self, toggle: ToggleId, variant: Option<VariantId>) -> &ToggleCells {
        self.serving.meters.toggle(toggle, variant).cells(self.worker)
    }

    /// A place for one more tunnel of this worker's, if there is one.
    pub(super) fn tunnel_place(&self) -> Option<Place> {
        self.places.take(self.serving.plan.limits.tunnels_max)
    }

    /// How many connections of this worker carry another protocol.
    pub(super) fn tunnels(&self) -> &Level {
        &self.serving.meters.worker(self.worker).tunnels
    }

    /// How answers of weir's own are dressed.
    pub(super) fn manner(&self, grpc: bool) -> Manner<'_> {
        Manner { name: &self.serving.plan.forwarding.name, grpc }
    }

    pub(super) fn count_check(&self, decision: &Decision, outcome: &str) {
        if let Some(check) = self.serving.meters.check(decision.lane) {
            check.cells(self.worker).checked(outcome);
        }
    }

    /// Lists a request for whoever asks by its trace, where somebody may.
    pub(super) fn list(snapshot: &Rc<Snapshot>, decided: &Decided) -> Option<Listed> {
        let trace = decided.arrived().trace.as_ref().filter(|_| snapshot.serving.plan.in_flight)?;
        snapshot.directory.list(trace.id, snapshot, decided.choices().collect())
    }

    /// Counts what a request brought of earlier decisions.
    pub(super) fn count_arrived(&self, decided: &Decided) {
        let (arrived, cells) = (decided.arrived(), &self.serving.meters.worker(self.worker).wire);
        if let Some(outcome) = arrived.outcome {
            cells.member(outcome);
            cells.unknown_toggles.add(arrived.unknown_toggles);
            cells.unknown_variants.add(arrived.strange.len() as u64);
        }
        arrived.overrides.iter().for_each(|outcome| cells.overridden(*outcome));
        let divergence = |toggle: &ToggleId| self.serving.meters.divergence(*toggle).cells(self.worker).add_one();
        decided.diverged().iter().for_each(divergence);
    }

    pub(super) fn count_left_out(&self, count: usize) {
        if count > 0 {
            self.serving.meters.worker(self.worker).wire.left_out.add(count as u64);
        }
    }

    pub(super) fn count_minted_key(&self) {
        self.serving.meters.worker(self.worker).wire.keys_minted.add_one();
    }

    /// Tokens that were verified under this generation's keys.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Counts what came of a token, by its place in `TOKEN_OUTCOMES`.
    pub(super) fn count_token(&self, outcome: usize) {
        self.serving.meters.worker(self.worker).tokens[outcome].add_one();
    }

    pub(super) fn count_dropped_claims(&self, count: usize) {
        if count > 0 {
            self.serving.meters.worker(self.worker).claims_dropped.add(count as u64);
        }
    }
}

/// By the order of `plan.carried`; nothing where applications are not told.
fn app_headers(plan: &Plan) -> Vec<(HeaderName, Vec<HeaderValue>)> {
    if !plan.propagation.as_ref().is_some_and(|propagation| propagation.headers) {
        return Vec::new();
    }
    let told = |id: &ToggleId| {
        let toggle = &plan.toggle(*id).toggle;
        let values = toggle.variants.iter().map(|variant| HeaderValue::from_str(&variant.name));
        let name = HeaderName::try_from(propagation::app_header(&toggle.name));
        // Names of toggles and variants are tokens: neither can fail.
        name.ok().zip(values.collect::<Result<_, _>>().ok())
    };
    plan.carried.iter().filter_map(told).collect()
}
