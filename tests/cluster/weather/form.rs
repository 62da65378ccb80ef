//! Many processes on one machine: how soon all see all.
//!
//! `COVENANT_FORM_NODES` says how many; `just form` takes twenty, in a release build.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Up, covenant, turn, wait_for};

/// A layout of so many towers around a hub, on ports that are free now.
fn layout(folder: &Path, count: usize) -> Vec<String> {
    let regions = ["africa", "asia", "europe", "north-america", "latin-america", "oceania"];
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let listeners: Vec<_> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut text = "cluster = \"form\"\n".to_owned();
    let mut names = Vec::new();
    for (index, socket) in sockets.iter().enumerate() {
        let (name, role) = match index {
            0 => ("hub-africa".to_owned(), "hub"),
            _ => (format!("tower-{index}"), "tower"),
        };
        let ports = &listeners[2 * index..2 * index + 2];
        text += &format!(
            "\n[[node]]\nname = \"{name}\"\nrole = \"{role}\"\nregion = \"{}\"\nlisten = \"{}\"\ncontrol = \"{}\"\n\
             metrics = \"{}\"\nsubscribe = []\n",
            regions[index % regions.len()],
            socket.local_addr().unwrap(),
            ports[0].local_addr().unwrap(),
            ports[1].local_addr().unwrap(),
        );
        names.push(name);
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("up.toml"), text).unwrap();
    names
}

#[test]
fn nodes_that_start_together_find_each_other() {
    let _turn = turn();
    let count: usize = std::env::var("COVENANT_FORM_NODES").map_or(6, |text| text.parse().expect("a number of nodes"));
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cluster");
    let names = layout(&folder, count);
    // Made and joined once; what is measured is a start of nodes that exist, as after a power cut.
    let up = Up::start(&folder);
    up.signal("-TERM");
    assert_eq!(up.wait(), Some(0));
    let began = Instant::now();
    let up = Up::start(&folder);
    let ready = began.elapsed();
    wait_for("every node to see all", || {
        let sees_all = |name: &String| {
            let output = covenant(&folder, &["members", "--json", "--node", name]);
            let members: Value = serde_json::from_slice(&output.stdout).ok()?;
            let reachable = members.as_array()?.iter().filter(|member| member["state"] == "reachable").count();
            (reachable == count).then_some(())
        };
        names.iter().all(|name| sees_all(name).is_some()).then_some(())
    });
    let formed = names.iter().filter_map(|name| uptime(&folder, name)).max().unwrap_or(Duration::ZERO);
    println!("\n{count} processes on one machine");
    println!("  all ready after the start                  {} ms", ready.as_millis());
    println!("  all seen to see all, the oldest being up   {} ms", formed.as_millis());
    drop(up);
}

/// How long a node has been up: no more than this passed since its start until it saw all.
fn uptime(folder: &Path, node: &str) -> Option<Duration> {
    let output = covenant(folder, &["status", "--json", "--node", node]);
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(Duration::from_millis(status["uptime_ms"].as_u64()?))
}
