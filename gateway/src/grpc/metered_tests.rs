//! Bodies that are cut, stop, drip, or do not end.

use futures::StreamExt;
use http_body_util::BodyExt;
use tonic::Code;

use super::*;

type Sender = futures::channel::mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

fn metered(budget: &Budget) -> (Sender, Metered) {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    (sender, Metered::new(Body::from_stream(receiver), 1 << 20, Held::new(budget)))
}

fn send(sender: &Sender, bytes: &[u8]) {
    sender.unbounded_send(Ok(Bytes::copy_from_slice(bytes))).unwrap();
}

fn code(frame: Option<Result<Frame<Bytes>, tonic::codegen::StdError>>) -> Code {
    frame.unwrap().unwrap_err().downcast::<Status>().unwrap().code()
}

/// The next frame; all of them have much time.
async fn soon(body: &mut Metered) -> Option<Result<Frame<Bytes>, tonic::codegen::StdError>> {
    tokio::time::timeout(Duration::from_secs(60), body.frame()).await.expect("it ends")
}

async fn data(body: &mut Metered) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_message_that_does_not_come_is_not_announced_and_given_up() {
    let budget = Budget::new(100);
    let (sender, mut body) = metered(&budget);
    send(&sender, &[0, 0, 1, 0, 0, 7]);
    body.pace.stall = Duration::from_millis(5);
    assert_eq!(code(soon(&mut body).await), Code::DeadlineExceeded, "tonic saw no prefix");
    drop(body);
    assert!(budget.reservation().grow(100));
}

#[tokio::test]
async fn a_unary_call_that_is_not_ended_is_given_up() {
    let (sender, mut body) = metered(&Budget::new(100));
    send(&sender, &[0, 0, 0, 0, 1, 7]);
    assert_eq!(data(&mut body).await.len(), 6);
    body.pace.stall = Duration::from_millis(5);
    assert_eq!(code(soon(&mut body).await), Code::DeadlineExceeded);
    drop(sender);
}

#[tokio::test]
async fn a_message_that_drips_is_given_up() {
    for answered in [false, true] {
        let (sender, mut body) = metered(&Budget::new(1 << 20));
        if answered {
            body.held.answered();
        }
        body.pace = Pace { stall: Duration::from_millis(200), rate: 1_000_000 };
        send(&sender, &[0, 0, 8, 0, 0]);
        let drip = tokio::spawn(async move {
            while sender.unbounded_send(Ok(Bytes::from_static(b"x"))).is_ok() {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
        assert_eq!(code(soon(&mut body).await), Code::DeadlineExceeded);
        drop(body);
        drip.await.unwrap();
    }
}

#[tokio::test]
async fn between_the_messages_of_a_stream_there_is_time() {
    let budget = Budget::new(100);
    let (sender, mut body) = metered(&budget);
    body.held.answered();
    body.pace.stall = Duration::from_millis(5);
    for _ in 0..3 {
        let silent = tokio::time::timeout(Duration::from_millis(30), body.frame()).await;
        assert!(silent.is_err());
        assert!(budget.reservation().grow(100), "what was taken is given back");
        send(&sender, &[0, 0, 0, 0, 60]);
        send(&sender, &[7; 60]);
        assert_eq!(data(&mut body).await.len(), 65);
        assert!(!budget.reservation().grow(36));
    }
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn messages_come_whole_and_unchanged_however_they_are_cut() {
    let mut all = Vec::new();
    for length in [0u8, 3, 0, 40, 1, 200] {
        all.extend_from_slice(&[0, 0, 0, 0, length]);
        all.extend(std::iter::repeat_n(length, usize::from(length)));
    }
    for cut in [1, 2, 7, 64, 1000] {
        let (sender, body) = metered(&Budget::new(1000));
        all.chunks(cut).for_each(|chunk| send(&sender, chunk));
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), all, "{cut}");
    }
    let (sender, body) = metered(&Budget::new(1000));
    send(&sender, &all[..all.len() - 1]);
    drop(sender);
    let mut body = body.into_data_stream();
    assert!(body.next().await.unwrap().is_ok());
    let broken = body.next().await.unwrap().unwrap_err();
    assert_eq!(broken.downcast::<Status>().unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_shown_to_tonic_at_once() {
    let (sender, mut body) = metered(&Budget::new(100));
    send(&sender, &[0, 0xff, 0, 0, 0]);
    assert_eq!(data(&mut body).await.len(), 5);
    drop(sender);
}
