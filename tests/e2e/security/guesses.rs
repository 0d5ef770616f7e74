//! Somebody at one address who guesses passwords as fast as it can, or takes connections and does not say who it is.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidelog_harness::{Server, http, reqwest, tokio};

use crate::{PASSWORD, server, token};

/// More than may wait of one address.
const GUESSERS: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_one_address_hold_up_no_other() {
    let args = ["--http-basic", "--authorizer", "acl", "--super-user", "User:ANONYMOUS", "--super-user", "User:alice"];
    let server = Server::start(tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD).args(args));
    server.run(&["user", "create", "alice"]).expect(0);
    let (url, stop) = (server.url("/v1/topics"), Arc::new(AtomicBool::new(false)));
    let (wrong, put_off) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let guessers: Vec<_> = (0..GUESSERS)
        .map(|n| {
            let (url, client, stop) = (url.clone(), http(), Arc::clone(&stop));
            let (wrong, put_off) = (Arc::clone(&wrong), Arc::clone(&put_off));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let guess = client.get(&url).basic_auth("alice", Some(format!("guess {n}")));
                    let answer = guess.send().await.unwrap();
                    match answer.status().as_u16() {
                        401 => wrong.fetch_add(1, Ordering::Relaxed),
                        429 => {
                            assert_eq!(answer.headers()["retry-after"], "1");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            put_off.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other}"),
                    };
                }
            })
        })
        .collect();
    let full = async {
        while put_off.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), full).await.expect("some are put off");

    let other = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
    let client = reqwest::Client::builder().no_proxy().local_address(other).build().unwrap();
    let before = wrong.load(Ordering::Relaxed);
    let right = client.get(&url).basic_auth("alice", Some(PASSWORD)).send().await.unwrap();
    assert_eq!(right.status().as_u16(), 200);
    // Those that had been checked already and wait to hear of it, and one or two more; not all that were there first.
    let meanwhile = wrong.load(Ordering::Relaxed) - before;
    assert!(meanwhile < 200, "{meanwhile} guesses were answered first");
    // What was right a moment ago needs no place, from the same address either.
    let known = http().get(&url).basic_auth("alice", Some(PASSWORD)).send().await.unwrap();
    assert_eq!(known.status().as_u16(), 200);
    stop.store(true, Ordering::Relaxed);
    for guesser in guessers {
        guesser.await.unwrap();
    }
    let metrics = client.get(server.url("/metrics")).basic_auth("alice", Some(PASSWORD)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = metrics.lines().find_map(|line| line.strip_prefix("tidelog_logins_put_off_total "));
    assert_eq!(counted.unwrap().parse::<usize>().unwrap(), put_off.load(Ordering::Relaxed));
}

/// Four places are there, two of them for those who have not said who they are.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_leave_places_to_callers_with_a_token() {
    let server = server();
    server.run(&["broker", "config", "all", "--set", "listener.name.http.max.connections=4"]).expect(0);
    let silent = || {
        let stream = TcpStream::connect(server.http()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let is_closed = |mut stream: &TcpStream| match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    let first = [silent(), silent()];
    assert!(is_closed(&silent()), "the third of one address");
    let mut clients = Vec::new();
    for _ in 0..2 {
        let other = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
        let client = reqwest::Client::builder().no_proxy().local_address(other).build().unwrap();
        let answer = client.get(server.url("/v1/topics")).bearer_auth(token("alice")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        clients.push(client);
    }
    assert!(is_closed(&first[0]), "the longest stranger makes room");
}
