//! The composition root: loads, binds, spawns, and drains.
//!
//! *Invariants*
//! - Nothing is served before everything is bound: a start either works or tells why not.
//! - Every thread that is started here is joined by [`App::drain`].

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    admin,
    config::{Compiled, Problem, Report, Sources, compile},
    live::{Live, Serving},
    observe::Observer,
    ofrep,
    plan::{Address, Overlay, Plan, Process},
    proxy::{
        AccessLog, Bound, Crew, InFlight, OwnAddresses, Resolver, Sights, Survey, Upstreamward, WorkerError, bind_tcp,
    },
    reload::{self, Command, Killed, Order, OrderError, Outcome, Restored, Writer},
    serve::serve,
    store,
    telemetry::{Exporter, Meters, Scrape},
    toggle::Timestamp,
};

/// Commands that may wait for the reload task.
const COMMANDS_WAITING_MAX: usize = 16;

/// A proxy that runs.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    live: Live,
    published: watch::Receiver<Arc<Meters>>,
    in_flight: InFlight,
    commands: mpsc::Sender<Command>,
    /// Turns readiness off.
    unready: watch::Sender<Option<Duration>>,
    drain: watch::Sender<Option<Duration>>,
    crew: Crew,
    control: Control,
    access_log: AccessLog,
}

/// Where an [`App`] listens, with the ports that were really taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// By the listeners' names.
    pub listeners: Vec<(String, Address)>,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
    /// The telemetry listener.
    pub telemetry: Option<SocketAddr>,
    /// The listener of the flag API.
    pub ofrep: Option<SocketAddr>,
}

/// Why an [`App`] did not start. A message that ends in what to do holds its cause, and no source tells it again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used\n\n{0}")]
    Config(Report),
    /// What operators changed before cannot be read.
    #[error(
        "{0}; it says which toggles are killed, so nothing is served without it: restore the file, or move it \
         away to start with no toggle killed"
    )]
    Overlay(store::OverlayError),
    /// An address cannot be listened on.
    #[error("{key} cannot listen on {address}: {cause}; stop what listens there, or choose another address")]
    Bind {
        /// The key that names the address.
        key: String,
        /// The address.
        address: Address,
        /// Why not.
        cause: io::Error,
    },
    /// A worker did not start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The control thread did not start.
    #[error("the control thread could not be started")]
    Control(#[source] io::Error),
    /// The access log's thread did not start.
    #[error("the access log's thread could not be started")]
    AccessLog(#[source] io::Error),
    /// The metrics exporter did not start.
    #[error("the metrics exporter could not be started")]
    Exporter(#[source] metrics_exporter_prometheus::BuildError),
}

/// The control thread, and how to end it.
#[derive(Debug)]
struct Control {
    thread: thread::JoinHandle<()>,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl App {
    /// Starts a proxy on a TOML file or a directory of them. Returns once every listener is bound and
    /// every thread runs; the calling thread is free.
    ///
    /// # Errors
    /// When the configuration cannot be used, an address cannot be bound or a thread cannot be started.
    pub fn start(config: &Path) -> Result<App, StartError> {
        App::begin(config, false, Resolver::system())
    }

    /// Like [`start`](App::start), with a way of one's own to look up the names of endpoints.
    ///
    /// # Errors
    /// As [`start`](App::start).
    pub fn start_resolving(config: &Path, resolver: Resolver) -> Result<App, StartError> {
        App::begin(config, false, resolver)
    }

    /// Like [`start`](App::start), beside a process that listens at the same addresses: new connections go
    /// to either until that one is told to drain, and none is lost then.
    ///
    /// # Errors
    /// As [`start`](App::start).
    pub fn take_over(config: &Path) -> Result<App, StartError> {
        App::begin(config, true, Resolver::system())
    }

    fn begin(config: &Path, take_over: bool, resolver: Resolver) -> Result<App, StartError> {
        let sources = Sources::read(config).map_err(StartError::Config)?;
        let compiled = compile(&sources).map_err(StartError::Config)?;
        let overlay =
            store::kept_overlay(&compiled.plan.process.state_dir).map_err(StartError::Overlay)?.unwrap_or_default();
        warn(&compiled, &overlay);
        let Compiled { plan, inventory, guards, .. } = compiled;
        let workers = worker_count(&plan.process);
        let bound = bind_listeners(&plan, workers, take_over)?;
        let names = plan.listeners.iter().map(|listener| listener.name.clone());
        let listeners = names.zip(bound.iter().map(|bound| bound.address.clone())).collect();
        let admin = plan.process.admin.map(|address| bind("admin.address", address, take_over)).transpose()?;
        let telemetry =
            plan.process.telemetry.map(|address| bind("telemetry.address", address, take_over)).transpose()?;
        let ofrep = plan.process.ofrep.map(|address| bind("ofrep.address", address, take_over)).transpose()?;
        let addresses = Addresses {
            listeners,
            admin: admin.as_ref().and_then(|socket| socket.local_addr().ok()),
            telemetry: telemetry.as_ref().and_then(|socket| socket.local_addr().ok()),
            ofrep: ofrep.as_ref().and_then(|socket| socket.local_addr().ok()),
        };

        let meters = Arc::new(Meters::new(&plan, workers));
        let lines_lost = Arc::clone(&meters.lines_lost);
        let (meters_sender, meters_receiver) = watch::channel(Arc::clone(&meters));
        let (exporter, scrape, gauges, toggle_gauges) =
            Exporter::new(meters_receiver.clone()).map_err(StartError::Exporter)?;
        let live = Live::new(Serving::new(Arc::new(plan), Arc::new(overlay), meters, 1));
        let observer = Observer::new(live.clone(), meters_receiver.clone(), toggle_gauges);
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let writer = Writer::new(config.to_owned(), sources, (inventory, guards), live.clone(), meters_sender, gauges);
        let (unready, readiness) = watch::channel(None);
        let (drain, draining) = watch::channel(None);
        let own = addresses.own();
        let (sights_sender, sights) = watch::channel(Sights::default());
        let (in_flight, questions) = InFlight::new(workers);
        let parts = Parts {
            config: config.to_owned(),
            exporter,
            scrape,
            writer,
            observer,
            commands: commands.clone(),
            received,
            sockets: [admin, telemetry].into_iter().flatten().collect(),
            readiness,
            ofrep,
            live: live.clone(),
            in_flight: in_flight.clone(),
            published: meters_receiver.clone(),
            draining: draining.clone(),
            survey: Survey::new(live.clone(), meters_receiver.clone(), own.clone(), resolver.clone(), sights_sender),
        };
        let (access_log, lines) = AccessLog::start(lines_lost).map_err(StartError::AccessLog)?;
        let control = Control::start(parts).map_err(StartError::Control)?;
        let crew = Crew::start(&live, bound, questions, &lines, &draining, &Upstreamward { own, resolver, sights })?;
        addresses.log(workers);
        Ok(App {
            addresses,
            live,
            published: meters_receiver,
            in_flight,
            commands,
            unready,
            drain,
            crew,
            control,
            access_log,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The number of the snapshot in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.live.serving().generation
    }

    /// Finds what was decided for requests that are being answered now, by their traces.
    #[must_use]
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Waits until a snapshot of at least this number is in force.
    pub async fn reached(&self, generation: u64) {
        // Every snapshot is followed by its meters.
        let mut published = self.published.clone();
        while self.generation() < generation && published.changed().await.is_ok() {}
    }

    /// Loads the files now, and tells what came of it. Files are watched besides: there is no need to
    /// call this after each change.
    pub async fn reload(&self) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let asked = self.commands.send(Command::Load(answer)).await;
        match (asked, outcome.await) {
            (Ok(()), Ok(outcome)) => outcome,
            // The control thread is gone only when the process ends.
            _ => Outcome::Unchanged,
        }
    }

    /// Opens the access log's file anew: it may have been rotated.
    pub fn reopen_access_log(&self) {
        self.access_log.reopen();
    }

    /// Kills a toggle: everybody gets its `off` variant with the next request that is read, until it is
    /// restored, whatever the configuration says and over restarts. `by` is who orders it.
    ///
    /// # Errors
    /// When the toggle is unknown, it is not said who orders it, or the kill cannot be written to
    /// `state_dir`. Then nothing has changed.
    pub async fn kill(&self, toggle: &str, by: &str, note: Option<&str>) -> Result<Killed, OrderError> {
        self.order(toggle, by, note, |order, answer| Command::Kill { order, answer }).await
    }

    /// Takes a kill back: the toggle is decided as the configuration says.
    ///
    /// # Errors
    /// Like [`kill`](App::kill).
    pub async fn restore(&self, toggle: &str, by: &str, note: Option<&str>) -> Result<Restored, OrderError> {
        self.order(toggle, by, note, |order, answer| Command::Restore { order, answer }).await
    }

    async fn order<T>(
        &self,
        toggle: &str,
        by: &str,
        note: Option<&str>,
        command: impl FnOnce(Order, oneshot::Sender<Result<T, OrderError>>) -> Command,
    ) -> Result<T, OrderError> {
        let order = Order { toggle: toggle.to_owned(), by: by.to_owned(), note: note.map(str::to_owned) };
        let (answer, outcome) = oneshot::channel();
        // The control thread is gone only when the process ends.
        self.commands.send(command(order, answer)).await.map_err(|_gone| OrderError::Stopping)?;
        outcome.await.unwrap_or(Err(OrderError::Stopping))
    }

    /// Stops: readiness goes off, connections are accepted for as long as `lame_duck` says, then no more;
    /// requests in flight may end within `drain_timeout`. Returns when every thread has ended.
    pub async fn drain(self) {
        let (timeout, lame_duck) = {
            let process = &self.live.serving().plan.process;
            (process.drain_timeout, process.lame_duck)
        };
        self.unready.send_replace(Some(timeout));
        tracing::info!(?timeout, ?lame_duck, "draining");
        if !lame_duck.is_zero() {
            // Whoever balances over several has to notice first.
            tokio::time::sleep(lame_duck).await;
        }
        self.drain.send_replace(Some(timeout));
        self.crew.join().await;
        self.access_log.finish().await;
        drop(self.commands);
        self.control.stop().await;
        tracing::info!("weir stopped");
    }
}

impl Addresses {
    /// All of them: no route leads back there.
    fn own(&self) -> OwnAddresses {
        let listeners = self.listeners.iter().filter_map(|(_, address)| address.tcp());
        OwnAddresses::new(listeners.chain(self.admin).chain(self.telemetry).chain(self.ofrep))
    }

    fn log(&self, workers: usize) {
        let listeners: Vec<String> = self.listeners.iter().map(|(name, at)| format!("{name}={at}")).collect();
        tracing::info!(
            listeners = %listeners.join(" "),
            admin = self.admin.map(tracing::field::display),
            telemetry = self.telemetry.map(tracing::field::display),
            ofrep = self.ofrep.map(tracing::field::display),
            workers,
            version = env!("CARGO_PKG_VERSION"),
            "weir started"
        );
    }
}

/// Tells what keeps nothing from being served, but should be known.
fn warn(compiled: &Compiled, overlay: &Overlay) {
    let idle = compiled.guards.idle();
    let now = Timestamp(jiff::Timestamp::now().as_second());
    let notices = compiled.notices(now).chain(&idle).map(Problem::line);
    for notice in notices.chain(overlay.strays_told(&compiled.plan)) {
        tracing::warn!("{notice}");
    }
}

/// As many as are configured, or one for each processor.
fn worker_count(process: &Process) -> usize {
    match process.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

fn bind_listeners(plan: &Plan, workers: usize, take_over: bool) -> Result<Vec<Bound>, StartError> {
    let bound = plan.listeners.iter().map(|listener| {
        let sockets = Bound::bind(&listener.address, workers, take_over);
        sockets.map_err(bind_error(format!("listeners.{}", listener.name), listener.address.clone()))
    });
    bound.collect()
}

fn bind(key: &str, address: SocketAddr, take_over: bool) -> Result<TcpListener, StartError> {
    bind_tcp(address, take_over).map_err(bind_error(key.to_owned(), Address::Tcp(address)))
}

fn bind_error(key: String, address: Address) -> impl FnOnce(io::Error) -> StartError {
    move |cause| StartError::Bind { key, address, cause }
}

/// What the control thread runs.
struct Parts {
    config: PathBuf,
    exporter: Exporter,
    scrape: Scrape,
    writer: Writer,
    observer: Observer,
    commands: mpsc::Sender<Command>,
    received: mpsc::Receiver<Command>,
    sockets: Vec<TcpListener>,
    /// Off as soon as it holds something.
    readiness: watch::Receiver<Option<Duration>>,
    ofrep: Option<TcpListener>,
    live: Live,
    in_flight: InFlight,
    published: watch::Receiver<Arc<Meters>>,
    draining: watch::Receiver<Option<Duration>>,
    survey: Survey,
}

impl Control {
    fn start(parts: Parts) -> io::Result<Control> {
        let (stop, stopping) = oneshot::channel();
        let (done, stopped) = oneshot::channel();
        let body = move || {
            if let Err(error) = control(parts, stopping) {
                tracing::error!(%error, "the control thread failed");
            }
            // Nobody waits for it any more when the process is being dropped.
            done.send(()).ok();
        };
        let thread = thread::Builder::new().name("weir-control".to_owned()).spawn(body)?;
        Ok(Control { thread, stop, stopped })
    }

    async fn stop(self) {
        // Both fail only when the thread has ended already.
        self.stop.send(()).ok();
        drop(self.stopped.await);
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

fn control(parts: Parts, stopping: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let state_dir = parts.live.serving().plan.process.state_dir.clone();
        for socket in parts.sockets {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let router = admin::telemetry(parts.scrape.clone(), parts.readiness.clone());
            tasks.spawn_local(serve("admin", listener, router, || admin::BOUNDS));
        }
        if let Some(socket) = parts.ofrep {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let desk = ofrep::Desk::new(parts.live.clone(), parts.in_flight, parts.published, parts.draining);
            tasks.spawn_local(serve("ofrep", listener, ofrep::router(desk), ofrep::bounds(parts.live)));
        }
        tasks.spawn_local(parts.survey.run());
        tasks.spawn_local(parts.exporter.run());
        tasks.spawn_local(parts.writer.run(parts.received));
        tasks.spawn_local(reload::watch_overlay(state_dir, parts.commands.clone()));
        tasks.spawn_local(reload::watch(parts.config, parts.commands));
        let (end, ending) = oneshot::channel();
        let observing = tokio::task::spawn_local(parts.observer.run(ending));
        // Whether told to stop or left alone, the end is the same.
        drop(stopping.await);
        // Both fail only when the task has ended already.
        end.send(()).ok();
        observing.await.ok();
        tasks.shutdown().await;
        io::Result::Ok(())
    })?;
    // A file that is still being read holds nobody back.
    runtime.shutdown_background();
    Ok(())
}
