//! Server-sent events that are resumed with Last-Event-ID after the server was killed.

use tidelog_harness::reqwest::Response;
use tidelog_harness::serde_json::{self, Value, json};
use tidelog_harness::{Server, http, tokio};

use crate::server;

struct Stream {
    response: Response,
    buffer: String,
}

impl Stream {
    async fn open(server: &Server, last_event_id: Option<&str>) -> Self {
        let mut request =
            http().get(server.url("/v1/topics/t/events?from=earliest")).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { response, buffer: String::new() }
    }

    /// Number and id of the next event; `None` if the stream ended or broke.
    async fn next(&mut self) -> Option<(i64, String)> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some(data), Some(id)) = (field("data:"), field("id:")) {
                    let line: Value = serde_json::from_str(data).unwrap();
                    return Some((line["value"]["n"].as_i64().unwrap(), id.to_owned()));
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

async fn publish(server: &Server, range: std::ops::Range<i64>) {
    for n in range {
        let url = server.url(&format!("/v1/topics/t/events?partition={}", n % 3));
        let response = http().post(url).json(&json!({ "n": n })).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_after_a_kill_and_after_a_stop() {
    let mut server = server();
    server.run(&["topic", "create", "t", "--partitions", "3"]).expect(0);
    publish(&server, 0..12).await;
    let (mut seen, mut last) = (Vec::new(), None::<String>);
    let mut stream = Stream::open(&server, None).await;
    for _ in 0..7 {
        let (n, id) = stream.next().await.unwrap();
        seen.push(n);
        last = Some(id);
    }
    server.kill();
    server.start_again();
    publish(&server, 12..18).await;
    stream = Stream::open(&server, last.as_deref()).await;
    while seen.len() < 18 {
        let (n, id) = stream.next().await.unwrap();
        seen.push(n);
        last = Some(id);
    }
    // A stop does not wait for streams, and ends them.
    server.stop();
    assert_eq!(stream.next().await, None);
    server.start_again();
    publish(&server, 18..20).await;
    stream = Stream::open(&server, last.as_deref()).await;
    for _ in 18..20 {
        seen.push(stream.next().await.unwrap().0);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>(), "each once");
}
