//! Which process works on a run, named so that another one with the same number is not taken for it.

use serde::{Deserialize, Serialize};

/// A process, wherever it runs. Only Linux knows more than the number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    pub id: u32,
    /// When it began, in clock ticks since the machine did.
    pub began: Option<u64>,
    /// Of the machine's start.
    pub boot: Option<String>,
    pub host: Option<String>,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Alive,
    Gone,
    /// It runs elsewhere, or this system does not tell.
    Unknown,
}

impl Process {
    /// The present one.
    pub fn this() -> Process {
        let id = std::process::id();
        Process {
            id,
            began: stat(id).map(|stat| stat.began),
            boot: line("/proc/sys/kernel/random/boot_id"),
            host: line("/proc/sys/kernel/hostname"),
        }
    }

    pub fn life(&self) -> Life {
        let here = Process::this();
        let (Some(began), true) = (self.began, here.began.is_some() && self.host == here.host) else {
            return Life::Unknown;
        };
        if self.boot != here.boot {
            return Life::Gone;
        }
        match stat(self.id) {
            Some(stat) if stat.began == began && !stat.ended => Life::Alive,
            _ => Life::Gone,
        }
    }
}

struct Stat {
    began: u64,
    /// Only its parent still has to take notice.
    ended: bool,
}

fn stat(id: u32) -> Option<Stat> {
    let bytes = std::fs::read(format!("/proc/{id}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name in parentheses may hold anything, spaces and parentheses too. Fields are counted from the third on.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Some(Stat { began: fields.get(19)?.parse().ok()?, ended: matches!(*fields.first()?, "Z" | "X" | "x") })
}

fn line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{Life, Process};

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let this = Process::this();
        assert_eq!(this.life(), Life::Alive);
        let cases = [
            (Process { began: this.began.map(|t| t + 1), ..this.clone() }, Life::Gone),
            (Process { boot: Some("another".into()), ..this.clone() }, Life::Gone),
            (Process { id: u32::MAX, ..this.clone() }, Life::Gone),
            (Process { host: Some("elsewhere".into()), ..this.clone() }, Life::Unknown),
            (Process { began: None, ..this.clone() }, Life::Unknown),
            (Process::default(), Life::Unknown),
        ];
        for (process, life) in cases {
            assert_eq!(process.life(), life, "{process:?}");
        }
        // One that has ended, but whose parent has not asked yet.
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let stat = super::stat(child.id()).unwrap();
        let of_child = Process { id: child.id(), began: Some(stat.began), ..this };
        assert_eq!(of_child.life(), Life::Alive);
        child.kill().unwrap();
        while !super::stat(child.id()).is_some_and(|stat| stat.ended) {
            std::thread::yield_now();
        }
        assert_eq!(of_child.life(), Life::Gone);
        child.wait().unwrap();
        assert_eq!(of_child.life(), Life::Gone);
    }
}
