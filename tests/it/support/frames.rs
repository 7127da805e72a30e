//! HTTP/2 by hand: frames as RFC 9113 draws them, so that a test can send what no library would.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection whose frames a test writes and reads.
pub(crate) struct Frames {
    stream: TcpStream,
}

/// One frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frames {
    /// Connects in clear and sends the preface with these settings.
    pub(crate) fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Frames {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut frames = Frames { stream };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.set(settings);
        frames
    }

    /// The service's end, of which the preface's first line has been read; sends these settings.
    pub(crate) fn serve(mut stream: TcpStream, settings: &[(u16, u32)]) -> Frames {
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        let mut frames = Frames { stream };
        frames.set(settings);
        frames
    }

    fn set(&mut self, settings: &[(u16, u32)]) {
        let settings =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
        self.send(SETTINGS, 0, 0, &settings.collect::<Vec<u8>>()).unwrap();
    }

    /// Says that streams above the last one are not processed, for no error.
    pub(crate) fn go_away(&mut self, last: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()).unwrap();
    }

    /// Answers 200 with a body.
    pub(crate) fn answer(&mut self, stream: u32, body: &[u8]) {
        // `:status: 200` of the static table (RFC 7541 appendix A).
        self.send(HEADERS, END_HEADERS, stream, &[0x88]).unwrap();
        self.send(DATA, END_STREAM, stream, body).unwrap();
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(kind, flags, stream, payload))
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A second handle, to read on another thread.
    pub(crate) fn twin(&self) -> Frames {
        Frames { stream: self.stream.try_clone().unwrap() }
    }

    /// Says that nothing more comes.
    pub(crate) fn close(&self) {
        // The peer may have closed before.
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// Gives up what the peer does not take within a second.
    pub(crate) fn impatient(&self) {
        self.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = self.stream.read_exact(&mut head);
        assert!(!matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock), "nothing came in time");
        read.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of that kind; `None` when the connection ends before.
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind)
    }

    /// What becomes of a stream: its status, "reset", or "gone" with the connection.
    pub(crate) fn outcome(&mut self, stream: u32) -> String {
        loop {
            match self.next() {
                Some(frame) if frame.kind == HEADERS && frame.stream == stream => return status(&frame.payload),
                Some(frame) if frame.kind == RESET && frame.stream == stream => return "reset".to_owned(),
                Some(frame) if frame.kind == GOAWAY => return "gone".to_owned(),
                Some(_other) => {}
                None => return "gone".to_owned(),
            }
        }
    }
}

/// A frame's bytes (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field block of literals without indexing (RFC 7541 §6.2.2). Nothing is checked.
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let text = |text: &[u8]| {
        // The length with a prefix of seven bits (RFC 7541 §5.1).
        let mut coded = Vec::new();
        let mut length = text.len();
        if length < 127 {
            coded.push(u8::try_from(length).unwrap());
        } else {
            coded.push(127);
            length -= 127;
            while length >= 128 {
                coded.push(u8::try_from(length % 128).unwrap() | 128);
                length /= 128;
            }
            coded.push(u8::try_from(length).unwrap());
        }
        coded.extend_from_slice(text);
        coded
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name.as_bytes()), text(value)].concat()).collect()
}

/// The head of a GET, with more fields.
pub(crate) fn get(fields: &[(&str, &[u8])]) -> Vec<u8> {
    head(b"GET", fields)
}

pub(crate) fn head(method: &[u8], fields: &[(&str, &[u8])]) -> Vec<u8> {
    let pseudo: [(&str, &[u8]); 4] =
        [(":method", method), (":scheme", b"http"), (":path", b"/"), (":authority", b"shop.example.com")];
    [block(&pseudo), block(fields)].concat()
}

/// The status that a field block of weir's begins with: an index of the static table, or a literal.
pub(crate) fn status(block: &[u8]) -> String {
    match block[0] {
        0x88 => "200".to_owned(),
        0x89 => "204".to_owned(),
        0x8b => "304".to_owned(),
        0x8c => "400".to_owned(),
        0x8d => "404".to_owned(),
        0x8e => "500".to_owned(),
        // The name by index 8, the value as three digits or in their Huffman code.
        _ => match &block[1..] {
            [3, digits @ ..] => String::from_utf8_lossy(&digits[..3]).into_owned(),
            [0x82, code @ ..] => huffman_digits([code[0], code[1], 0]),
            [0x83, code @ ..] => huffman_digits([code[0], code[1], code[2]]),
            other => format!("{other:?}"),
        },
    }
}

/// Three digits in the Huffman code of RFC 7541 appendix B: `0` to `2` have five bits, the others six.
fn huffman_digits([first, second, third]: [u8; 3]) -> String {
    let bits = u32::from_be_bytes([0, first, second, third]);
    let (mut at, mut digits) = (24, String::new());
    while digits.len() < 3 {
        let five = bits >> (at - 5) & 31;
        if five < 3 {
            digits.push(char::from_digit(five, 10).unwrap());
            at -= 5;
        } else {
            digits.push(char::from_digit((bits >> (at - 6) & 63) - 25 + 3, 10).unwrap());
            at -= 6;
        }
    }
    digits
}
