//! Turns: a task that could go on lets everybody else on its worker go on first.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

/// The turn of all others: those that can go on do, and what came for them meanwhile is looked at.
#[derive(Debug, Default)]
pub(super) struct Turn(Option<Arc<Had>>);

/// Whether they had it. That the task is woken says nothing of that: it may be for anything.
#[derive(Debug)]
struct Had {
    over: AtomicBool,
    task: Waker,
}

impl Turn {
    /// Ready when they had it, which begins with the first call; all calls are of one task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(had) = &self.0 else {
            let had = Arc::new(Had { over: AtomicBool::new(false), task: cx.waker().clone() });
            let told = Waker::from(Arc::clone(&had));
            // Whoever yields is woken when the runtime has looked at what came.
            let yielded = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&told));
            self.0 = Some(had);
            return yielded;
        };
        if had.over.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Wake for Had {
    fn wake(self: Arc<Had>) {
        self.over.store(true, Relaxed);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
    };

    use super::*;

    #[tokio::test]
    async fn others_had_it_once_what_came_for_them_was_looked_at_however_often_the_task_is_woken() {
        let (mut client, mut own) = UnixStream::pair().unwrap();
        let heard = Arc::new(AtomicBool::new(false));
        let hears = Arc::clone(&heard);
        let other = tokio::spawn(async move {
            own.read_u8().await.unwrap();
            hears.store(true, Relaxed);
        });
        tokio::task::yield_now().await;
        client.write_all(b"x").await.unwrap();
        let taking = tokio::spawn(async move {
            let (mut turn, mut others_wake) = (Turn::default(), 3);
            poll_fn(|cx| {
                if others_wake > 0 {
                    others_wake -= 1;
                    cx.waker().wake_by_ref();
                }
                turn.poll(cx)
            })
            .await;
            heard.load(Relaxed)
        });
        assert!(taking.await.unwrap());
        other.await.unwrap();
    }
}
