//! The floor: the minimum cost on this machine. One thread writes all requests, then reads all answers, on blocking
//! sockets.
//!
//! It has no pool, no retry and no reconnect, and one read for an answer in one segment.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use cluster_client_compare::pace::Ids;
use cluster_client_compare::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT, wire};

fn main() -> ExitCode {
    cluster_client_compare::run::<Floor>()
}

struct Floor {
    hosts: Vec<String>,
    /// Connections for each group in flight, made on first use.
    lanes: Vec<Vec<TcpStream>>,
    buffer: Vec<u8>,
}

impl Client for Floor {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        Ok(Self { hosts: hosts.to_vec(), lanes: Vec::new(), buffer: vec![0; 4096] })
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.create_wave(&[id.to_owned()])
    }

    /// Works in waves of groups. All answers have one delay, so a wave costs no more than a window of groups.
    fn create_all(&mut self, mut ids: Ids) -> Result<(), Failure> {
        loop {
            let wave: Vec<String> = ids.by_ref().take(IN_FLIGHT).collect();
            if wave.is_empty() {
                return Ok(());
            }
            self.create_wave(&wave)?;
        }
    }
}

impl Floor {
    fn create_wave(&mut self, ids: &[String]) -> Result<(), Failure> {
        while self.lanes.len() < ids.len() {
            let lane: Result<Vec<_>, _> = self.hosts.iter().map(|host| connect(host)).collect();
            self.lanes.push(lane?);
        }
        self.round(ids, 201, |host, id| {
            let body = wire::create_body(id);
            format!(
                "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{body}",
                wire::GROUP_PATH,
                wire::JSON,
                body.len()
            )
        })?;
        self.round(ids, 200, |host, id| format!("GET {}{id}/ HTTP/1.1\r\nhost: {host}\r\n\r\n", wire::GROUP_PATH))
    }

    /// Sends all requests, then reads all answers.
    fn round(&mut self, ids: &[String], wanted: u16, request: impl Fn(&str, &str) -> String) -> Result<(), Failure> {
        for (lane, id) in self.lanes.iter_mut().zip(ids) {
            for (stream, host) in lane.iter_mut().zip(&self.hosts) {
                stream.write_all(request(host, id).as_bytes())?;
            }
        }
        for lane in self.lanes.iter_mut().take(ids.len()) {
            for stream in lane {
                wire::expect(wanted, read_answer(stream, &mut self.buffer)?)?;
            }
        }
        Ok(())
    }
}

fn connect(host: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    Ok(stream)
}

/// Reads one answer to its end and returns its status.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<u16, Failure> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Err("the connection ended, or the answer is too long".into());
        }
        filled += read;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head_len) = head.parse(&buffer[..filled])? else { continue };
        let body_len: usize = head
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"))
            .map_or(Ok(0), |header| std::str::from_utf8(header.value)?.parse().map_err(Failure::from))?;
        if filled >= head_len + body_len {
            return head.code.ok_or_else(|| "no status".into());
        }
    }
}
