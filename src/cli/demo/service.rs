//! The two versions of the orders service. They count what reaches them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{runtime::Builder, sync::oneshot, task::JoinSet};

use super::scene::Arm;

/// Both versions, on a thread of their own.
#[derive(Debug)]
pub(super) struct Services {
    addresses: [SocketAddr; 2],
    seen: Arc<[Seen; 2]>,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<io::Result<()>>,
}

/// What reached one version.
#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    broken: AtomicU64,
}

/// One version.
#[derive(Clone, Debug)]
struct Service {
    arm: Arm,
    seen: Arc<[Seen; 2]>,
}

#[derive(Deserialize)]
struct NewOrder {
    item: String,
    quantity: u32,
}

impl Services {
    /// Starts both on ports that are free.
    pub(super) fn start() -> anyhow::Result<Services> {
        let mut sockets = Vec::new();
        let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 2];
        for address in &mut addresses {
            let socket = TcpListener::bind(*address).context("no port of 127.0.0.1 can be listened on")?;
            socket.set_nonblocking(true)?;
            *address = socket.local_addr()?;
            sockets.push(socket);
        }
        let seen = Arc::<[Seen; 2]>::default();
        let services = Arm::ALL.map(|arm| Service { arm, seen: Arc::clone(&seen) });
        let (stop, stopping) = oneshot::channel();
        let serving = move || serve(sockets, services, stopping);
        let thread = thread::Builder::new().name("demo-services".to_owned()).spawn(serving)?;
        Ok(Services { addresses, seen, stop, thread })
    }

    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// Sound requests that reached either version.
    pub(super) fn requests(&self) -> u64 {
        self.seen.iter().map(|seen| seen.requests.load(Relaxed)).sum()
    }

    /// Payloads that reached either version and that it cannot make an order of.
    pub(super) fn broken(&self) -> u64 {
        self.seen.iter().map(|seen| seen.broken.load(Relaxed)).sum()
    }

    /// Stops both and waits for their thread.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        // It fails when the thread has ended already, and then the join tells why.
        self.stop.send(()).ok();
        let ended = self.thread.join().map_err(|_panic| anyhow::anyhow!("the orders services panicked"))?;
        ended.context("the orders services failed")
    }
}

fn serve(sockets: Vec<TcpListener>, services: [Service; 2], stopping: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut serving = JoinSet::new();
        for (socket, service) in sockets.into_iter().zip(services) {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let router = Router::new()
                .route("/orders", post(create))
                .route("/orders/{id}", get(order))
                .fallback(stray)
                .with_state(service);
            serving.spawn(async move { axum::serve(listener, router).await });
        }
        // Whether told to stop or left alone, the end is the same.
        drop(stopping.await);
        serving.shutdown().await;
        Ok(())
    })
}

impl Service {
    fn seen(&self) -> &Seen {
        &self.seen[self.arm.index()]
    }

    /// An order as this version tells it: v2 knows gift notes.
    fn order(&self, id: u32, item: &str, quantity: u32) -> Json<serde_json::Value> {
        let mut order = json!({ "version": self.arm.version(), "id": id, "item": item, "quantity": quantity });
        if self.arm == Arm::Canary {
            order["gift_note"] = "with love".into();
        }
        Json(order)
    }
}

async fn order(State(service): State<Service>, Path(id): Path<u32>) -> Json<serde_json::Value> {
    service.seen().requests.fetch_add(1, Relaxed);
    service.order(id, "tea", 1)
}

async fn create(State(service): State<Service>, body: Bytes) -> Response {
    let order = serde_json::from_slice::<NewOrder>(&body).ok().filter(|order| (1..=99).contains(&order.quantity));
    let Some(order) = order else {
        service.seen().broken.fetch_add(1, Relaxed);
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    service.seen().requests.fetch_add(1, Relaxed);
    (StatusCode::CREATED, service.order(7, &order.item, order.quantity)).into_response()
}

async fn stray(State(service): State<Service>) -> StatusCode {
    service.seen().broken.fetch_add(1, Relaxed);
    StatusCode::NOT_FOUND
}
