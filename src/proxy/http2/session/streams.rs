//! The streams of a connection.

use std::{
    ops::{Index, IndexMut},
    task::Waker,
};

use bytes::BytesMut;
use http::{HeaderMap, header};
use slab::Slab;
use tokio::task::AbortHandle;

use crate::proxy::{http2::head::Asked, received::BodyFault};

/// Where a stream is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::http2) struct Key(usize);

/// A request and its answer.
#[derive(Debug)]
pub(in crate::proxy::http2) struct Stream {
    pub(super) id: u32,
    /// What has come of the body, and was not taken.
    pub(super) body: BytesMut,
    pub(super) trailers: Option<HeaderMap>,
    /// Nothing more comes.
    pub(super) ended: bool,
    /// What the body has still to have, where its length was told.
    pub(super) length_left: Option<u64>,
    /// What the client may still send, and what it was not told yet that it may.
    pub(super) window: i64,
    pub(super) unreturned: u32,
    /// What it may send before anything is taken, and what of it was added for its haste.
    pub(super) window_max: u32,
    pub(super) grown: u32,
    /// Whoever takes the body had to wait for it.
    pub(super) awaited: bool,
    /// Why it ended before its end.
    pub(super) fault: Option<BodyFault>,
    /// Its client waits to be told that the body is wanted (RFC 9110 §10.1.1).
    pub(super) expects: bool,
    /// Whoever waits for more of the body.
    pub(super) reader: Option<Waker>,
    /// What the client takes of the answer.
    pub(super) its_window: i64,
    pub(super) said: Said,
    /// Whoever waits until more of the answer may be sent.
    pub(super) writer: Option<Waker>,
    pub(super) task: Option<AbortHandle>,
    /// Somebody has had a look at it.
    pub(super) looked_at: bool,
    /// Its body is not wanted, or not any more.
    pub(super) unread: bool,
    /// It is known to both sides.
    open: bool,
    /// Who refers to it.
    pub(super) holders: u8,
}

/// How much of an answer was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::http2) enum Said {
    Nothing,
    Head,
    All,
}

impl Stream {
    pub(super) fn new(
        id: u32,
        ended: bool,
        asked: &Asked,
        (window, window_max): (u32, u32),
        its_window: i64,
    ) -> Stream {
        Stream {
            id,
            body: BytesMut::new(),
            trailers: None,
            ended,
            length_left: asked.length,
            window: i64::from(window),
            unreturned: 0,
            window_max,
            grown: 0,
            awaited: false,
            fault: None,
            expects: !ended && asked.head.headers.contains_key(header::EXPECT),
            reader: None,
            its_window,
            said: Said::Nothing,
            writer: None,
            task: None,
            looked_at: false,
            unread: false,
            open: true,
            holders: 0,
        }
    }

    /// The body is whole.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) {
        (self.ended, self.trailers) = (true, trailers);
        self.wake_reader();
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }
}

/// All streams that are open or that somebody refers to.
#[derive(Debug, Default)]
pub(super) struct Streams {
    kept: Slab<Stream>,
    /// Those that are open, by their numbers, which only grow.
    open: Vec<(u32, Key)>,
}

impl Streams {
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn find(&self, id: u32) -> Option<Key> {
        let place = self.open.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.open[place].1)
    }

    pub(super) fn open_one(&mut self, stream: Stream) -> Key {
        let id = stream.id;
        let key = Key(self.kept.insert(stream));
        self.open.push((id, key));
        key
    }

    /// Breaks a stream off; gives how many bytes of its body nobody will take.
    pub(super) fn close(&mut self, key: Key, fault: BodyFault) -> usize {
        let stream = &mut self.kept[key.0];
        let untaken = std::mem::take(&mut stream.body).len();
        // However much of it came: what is lost of it now would be missing.
        (stream.fault, stream.ended) = (Some(fault), false);
        stream.said = Said::All;
        stream.wake_reader();
        stream.wake_writer();
        if let Some(task) = stream.task.take() {
            task.abort();
        }
        self.shut(key);
        untaken
    }

    pub(super) fn close_all(&mut self) {
        while let Some((_, key)) = self.open.last().copied() {
            self.close(key, BodyFault::Closed);
        }
    }

    /// The stream is over for both sides; it stays as long as somebody refers to it.
    pub(super) fn shut(&mut self, key: Key) {
        let stream = &mut self.kept[key.0];
        if std::mem::take(&mut stream.open)
            && let Ok(place) = self.open.binary_search_by_key(&stream.id, |(id, _)| *id)
        {
            self.open.remove(place);
        }
        self.forget(key);
    }

    /// Gives its place to another one, if nobody refers to it any more.
    pub(super) fn forget(&mut self, key: Key) {
        if !self.kept[key.0].open && self.kept[key.0].holders == 0 {
            self.kept.remove(key.0);
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.kept.iter_mut().map(|(_, stream)| stream)
    }
}

impl Index<Key> for Streams {
    type Output = Stream;

    fn index(&self, key: Key) -> &Stream {
        &self.kept[key.0]
    }
}

impl IndexMut<Key> for Streams {
    fn index_mut(&mut self, key: Key) -> &mut Stream {
        &mut self.kept[key.0]
    }
}
