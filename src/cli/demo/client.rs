//! A client with one keep-alive connection to weir.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use super::scene::User;

/// How long an answer is waited for: longer than weir waits for a service, so that weir tells what failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, made anew after a failure.
#[derive(Debug)]
pub(super) struct Client {
    edge: SocketAddr,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with the connection.
    _driver: JoinSet<()>,
}

impl Client {
    pub(super) fn new(edge: SocketAddr) -> Client {
        Client { edge, connection: None }
    }

    /// Sends the user's request and gives the whole answer.
    pub(super) async fn send(
        &mut self,
        user: &User,
        path: &str,
        order: Option<Bytes>,
    ) -> anyhow::Result<Response<Bytes>> {
        let request = self.request(user, path, order)?;
        // Taken out, so that a connection that failed is not used again.
        let connection = self.connection.take();
        let exchange = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => Connection::open(self.edge).await?,
            };
            connection.sender.ready().await?;
            let (head, body) = connection.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok((connection, Response::from_parts(head, body)))
        };
        let exchanged = tokio::time::timeout(PATIENCE, exchange).await;
        let (connection, response) = exchanged.with_context(|| format!("no answer within {PATIENCE:?}"))??;
        self.connection = Some(connection);
        Ok(response)
    }

    fn request(&self, user: &User, path: &str, order: Option<Bytes>) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .uri(path)
            .header(header::HOST, self.edge.to_string())
            .header("x-user-id", &user.id)
            // Loopback is trusted, so weir tells with each answer which generation decided it, and how.
            .header("x-weir-explain", "1");
        if user.beta {
            request = request.header("x-cohort", "beta");
        }
        match order {
            Some(order) => {
                let request = request.method(Method::POST).header(header::CONTENT_TYPE, "application/json");
                request.body(Full::new(order))
            }
            None => request.body(Full::default()),
        }
    }
}

impl Connection {
    async fn open(edge: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(edge).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // Its error reaches whoever waits for the answer.
        driver.spawn(async move { drop(connection.await) });
        Ok(Connection { sender, _driver: driver })
    }
}
