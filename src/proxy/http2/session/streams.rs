//! The streams of a connection.

use std::{
    ops::{Index, IndexMut},
    task::{Context, Waker},
};

use bytes::BytesMut;
use http::{HeaderMap, header};
use slab::Slab;
use tokio::task::AbortHandle;

use super::asking::Inquiry;
use crate::proxy::{
    http2::{fault::StreamFault, head},
    received::BodyFault,
};

/// Where a stream is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Key(usize);

/// A request and its answer.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What has come of the body, and was not taken.
    pub(super) body: BytesMut,
    pub(super) trailers: Option<HeaderMap>,
    /// Nothing more comes.
    pub(super) ended: bool,
    /// What the body has still to have, where its length was told.
    pub(super) length_left: Option<u64>,
    /// What the peer may still send, and what it was not told yet that it may.
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
    /// Whoever waits for a head, or for more of the body.
    pub(super) reader: Option<Waker>,
    /// What the peer takes of what is said.
    pub(super) its_window: i64,
    pub(super) said: Said,
    /// Whoever waits until more may be said.
    pub(super) writer: Option<Waker>,
    pub(super) task: Option<AbortHandle>,
    /// Somebody has had a look at it.
    pub(super) looked_at: bool,
    /// What it has more where weir began it.
    pub(super) inquiry: Option<Box<Inquiry>>,
    /// Its body is not wanted, or not any more.
    pub(super) unread: bool,
    /// It is known to both sides.
    open: bool,
    /// Nothing more happens on it, unless its peer has something to say.
    pub(super) resting: bool,
    /// Who refers to it.
    pub(super) holders: u8,
}

/// How much of an answer, or of a request, was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Head,
    All,
}

impl Stream {
    /// One that a client began, of which so much more may come and be said.
    pub(super) fn begun(id: u32, ended: bool, head: &head::Asked, window: u32, its_window: i64) -> Stream {
        Stream {
            ended,
            length_left: head.length,
            expects: !ended && head.head.headers.contains_key(header::EXPECT),
            ..Stream::new(id, window, its_window)
        }
    }

    /// One that weir begins.
    pub(super) fn ours(id: u32, inquiry: Inquiry, (window, its_window): (u32, i64)) -> Stream {
        Stream { inquiry: Some(Box::new(inquiry)), ..Stream::new(id, window, its_window) }
    }

    fn new(id: u32, window_max: u32, its_window: i64) -> Stream {
        Stream {
            id,
            body: BytesMut::new(),
            trailers: None,
            ended: false,
            length_left: None,
            window: i64::from(window_max),
            unreturned: 0,
            window_max,
            grown: 0,
            awaited: false,
            fault: None,
            expects: false,
            reader: None,
            its_window,
            said: Said::Nothing,
            writer: None,
            task: None,
            looked_at: false,
            inquiry: None,
            unread: false,
            open: true,
            resting: false,
            holders: 0,
        }
    }

    /// Whether its answer has not come, of one that weir began.
    pub(super) fn awaits_answer(&self) -> bool {
        self.inquiry.as_ref().is_some_and(|inquiry| !inquiry.answered)
    }

    /// The body is whole.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) {
        (self.ended, self.trailers) = (true, trailers);
        self.wake_reader();
    }

    /// Whoever polls with this waits for what comes next.
    pub(super) fn read_by(&mut self, cx: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
    }

    /// Why nothing more comes.
    pub(super) fn take_fault(&mut self) -> BodyFault {
        self.fault.take().unwrap_or(BodyFault::Stream(StreamFault::GivenUp))
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
    /// How many of these rest.
    resting: usize,
}

impl Streams {
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many something still happens on.
    pub(super) fn busy(&self) -> usize {
        self.open.len() - self.resting
    }

    pub(super) fn resting(&self) -> usize {
        self.resting
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
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
        // What came of an answer is passed on, and a whole one is one, whatever becomes of its request (RFC 9113 §8.1).
        // Of a request nobody wants the answer any more: what is lost of it now would be missing, however much came.
        let untaken = if stream.inquiry.is_some() { 0 } else { std::mem::take(&mut stream.body).len() };
        if stream.inquiry.is_none() || !stream.ended {
            (stream.fault, stream.ended) = (Some(fault), false);
        }
        stream.said = Said::All;
        stream.wake_reader();
        stream.wake_writer();
        if let Some(task) = stream.task.take() {
            task.abort();
        }
        self.shut(key);
        untaken
    }

    pub(super) fn close_all(&mut self, fault: StreamFault) {
        while let Some(key) = self.above(0) {
            self.close(key, fault.into());
        }
    }

    /// The last one that is open and has a greater number.
    pub(super) fn above(&self, id: u32) -> Option<Key> {
        self.open.last().filter(|(last, _)| *last > id).map(|(_, key)| *key)
    }

    /// All was said on it that ever will be: its peer may end it.
    pub(super) fn rest(&mut self, key: Key) {
        let stream = &mut self.kept[key.0];
        self.resting += usize::from(!std::mem::replace(&mut stream.resting, true));
        // Nobody misses what it stops before.
        stream.length_left = None;
    }

    /// The stream is over for both sides; it stays as long as somebody refers to it.
    pub(super) fn shut(&mut self, key: Key) {
        let stream = &mut self.kept[key.0];
        if std::mem::take(&mut stream.open)
            && let Ok(place) = self.open.binary_search_by_key(&stream.id, |(id, _)| *id)
        {
            self.open.remove(place);
            self.resting -= usize::from(stream.resting);
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
