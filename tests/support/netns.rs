//! A network namespace with a link of its own to this one.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::skip::skip;

pub struct Namespace {
    pub name: String,
    /// The end of the link in the namespace.
    pub inside: String,
    /// The end of the link on this side.
    pub outside: String,
    /// The address inside.
    pub address: String,
    net: String,
}

impl Namespace {
    /// With an IPv4 network of its own.
    pub fn new() -> Result<Self, String> {
        let namespace = Self::bare()?;
        let (inside, outside) = (namespace.address.clone(), namespace.ours(1));
        namespace.add_address(&format!("{outside}/24"), &format!("{inside}/24"))?;
        Ok(namespace)
    }

    /// With IPv6 alone.
    pub fn ipv6() -> Result<Self, String> {
        let mut namespace = Self::bare()?;
        let net = namespace.net.replace('.', ":");
        namespace.address = format!("fd00:{net}::2");
        let (inside, outside) = (namespace.address.clone(), format!("fd00:{net}::1"));
        namespace.add_address(&format!("{outside}/64"), &format!("{inside}/64"))?;
        Ok(namespace)
    }

    fn bare() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // A name that was used may still be taken: the kernel cleans up later.
        let id = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed) % 16;
        let net = format!("10.{}.{}", 64 + id / 256 % 64, id % 256);
        // From here on the namespace goes with its guard.
        let namespace = Self {
            name: format!("rtsp2p{id}"),
            inside: format!("r2i{id}"),
            outside: format!("r2o{id}"),
            address: format!("{net}.2"),
            net,
        };
        let (name, inside, outside) = (&namespace.name, &namespace.inside, &namespace.outside);
        ip(&["netns", "add", name])?;
        let peer = ["type", "veth", "peer", "name", inside, "netns", name];
        ip(&[&["link", "add", outside], &peer[..]].concat())?;
        ip(&["link", "set", outside, "up"])?;
        ip(&["-n", name, "link", "set", inside, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn add_address(&self, outside: &str, inside: &str) -> Result<(), String> {
        // An IPv6 address is of use at once.
        let more: &[&str] = if inside.contains(':') {
            &["nodad"]
        } else {
            &[]
        };
        let add = |address, device| [&["addr", "add", address, "dev", device], more].concat();
        ip(&add(outside, &self.outside))?;
        ip(&[&["-n", &self.name], &add(inside, &self.inside)[..]].concat())
    }

    /// The addresses of this side: the one that it has is number 1.
    fn ours(&self, number: u8) -> String {
        // 2 is inside.
        let last = if number == 1 { 1 } else { number + 10 };
        format!("{}.{last}", self.net)
    }

    /// The address of this side.
    pub fn outside_address(&self) -> std::net::Ipv4Addr {
        self.ours(1).parse().expect("an IPv4 address")
    }

    /// This side has another address; the one before is gone.
    pub fn change_address(&self, from: u8, to: u8) -> Result<(), String> {
        let (from, to) = (self.ours(from), self.ours(to));
        // In this order: with its first address a device loses those of its net.
        ip(&["addr", "del", &format!("{from}/24"), "dev", &self.outside])?;
        ip(&["addr", "add", &format!("{to}/24"), "dev", &self.outside])
    }

    /// Cuts the link somewhere in the middle: both ends are up, and what they
    /// send goes to a station that is not there.
    pub fn cut(&self) -> Result<(), String> {
        let nobody = ["lladdr", "02:00:00:00:00:01", "nud", "permanent"];
        self.at_both_ends("replace", &nobody)
    }

    pub fn mend(&self) -> Result<(), String> {
        self.at_both_ends("del", &[])
    }

    fn at_both_ends(&self, verb: &str, what: &[&str]) -> Result<(), String> {
        let (here, there) = (self.ours(1), self.address.as_str());
        let there = ["neigh", verb, there, "dev", &self.outside];
        ip(&[&there, what].concat())?;
        let here = ["-n", &self.name, "neigh", verb, &here, "dev", &self.inside];
        ip(&[&here, what].concat())
    }

    /// Whom those inside ask for names: `ip netns exec` puts the file in the place of
    /// /etc/resolv.conf.
    pub fn set_name_server(&self, server: &str) -> std::io::Result<()> {
        let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        std::fs::create_dir_all(self.settings())?;
        std::fs::write(self.settings() + "/resolv.conf", text)
    }

    fn settings(&self) -> String {
        format!("/etc/netns/{}", self.name)
    }

    /// What runs a command inside.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The namespace lives on while a socket in it does; the link goes at once.
        let _ = ip(&["link", "del", &self.outside]);
        let _ = ip(&["netns", "del", &self.name]);
        // There is none unless a name server was set.
        let _ = std::fs::remove_dir_all(self.settings());
    }
}

/// Namespaces need root; everything that builds in a container has it.
pub fn namespace(made: Result<Namespace, String>) -> Option<Namespace> {
    match made {
        Ok(namespace) => Some(namespace),
        Err(reason) if is_root() => panic!("{reason}"),
        Err(reason) => {
            skip(format!("no network namespace: {reason}"));
            None
        }
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {said}", args.join(" "))),
    }
}
