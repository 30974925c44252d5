//! The bridge that an engine's containers are on.

use std::net::Ipv4Addr;
use std::process::Command;

use super::PREFIX;

/// A bridge with a subnet of its own. The name is the claim: two tests cannot both create it.
#[derive(Debug)]
pub struct Bridge {
    pub name: String,
    /// A loopback address that goes with the name.
    pub loopback: Ipv4Addr,
}

impl Bridge {
    pub fn claim() -> Result<Self, String> {
        let mut reason = String::new();
        for number in 0..1024_u16 {
            let [high, low] = number.to_be_bytes();
            let name = format!("{PREFIX}{number}");
            match ip(&["link", "add", &name, "type", "bridge"]) {
                Ok(()) => {
                    // Apart from 127.0.0.0/16, in which tests choose addresses by themselves.
                    let loopback = Ipv4Addr::new(127, 64 + high, low, 1);
                    let bridge = Self { name, loopback };
                    // Half of 10.96.0.0/11, out of the way of what engines and clouds choose by themselves.
                    let address = format!("10.{}.{low}.1/24", 104 + high);
                    ip(&["link", "set", &bridge.name, "alias", &format!("{PREFIX}-{}", std::process::id())])?;
                    ip(&["address", "add", &address, "dev", &bridge.name])?;
                    ip(&["link", "set", &bridge.name, "up"])?;
                    return Ok(bridge);
                }
                Err(error) if error.contains("File exists") => reason = error,
                Err(error) => return Err(error),
            }
        }
        Err(format!("no free bridge name: {reason}"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Err(reason) = ip(&["link", "delete", &self.name]) {
            eprintln!("the bridge {} stays behind: {reason}", self.name);
        }
    }
}

pub fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
