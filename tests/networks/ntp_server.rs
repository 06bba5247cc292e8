//! A time server (RFC 5905, SNTP) that tells the time of this machine, or
//! another one.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::support::mini::free_address;
use crate::support::wire::ntp_timestamp;

pub struct NtpServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    pub asked: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl NtpServer {
    /// `ahead` of the machine's clock.
    pub fn start(ahead: Duration) -> Self {
        let socket = UdpSocket::bind((*free_address().ip(), 0)).expect("a socket");
        let wait = Some(Duration::from_millis(50));
        socket.set_read_timeout(wait).expect("a socket");
        let address = socket.local_addr().expect("an address");
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), asked.clone());
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 1024];
            while !stopped.load(Acquire) {
                let Ok((48.., from)) = socket.recv_from(&mut packet) else {
                    continue;
                };
                count.fetch_add(1, Relaxed);
                let now = ntp_timestamp(SystemTime::now() + ahead).to_be_bytes();
                let mut answer = [0; 48];
                // Version 4, server, stratum 1.
                answer[..4].copy_from_slice(&[0x24, 1, 3, 0xec]);
                answer[12..16].copy_from_slice(b"LOCL");
                answer[16..24].copy_from_slice(&now);
                answer[24..32].copy_from_slice(&packet[40..48]);
                answer[32..40].copy_from_slice(&now);
                let sent = ntp_timestamp(SystemTime::now() + ahead).to_be_bytes();
                answer[40..48].copy_from_slice(&sent);
                let _ = socket.send_to(&answer, from);
            }
        });
        Self {
            address,
            stop,
            asked,
            thread: Some(thread),
        }
    }

    /// As `a=ts-refclk` names it.
    pub fn name(&self) -> String {
        format!("ntp={}", self.address)
    }
}

impl Drop for NtpServer {
    fn drop(&mut self) {
        self.stop.store(true, Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
