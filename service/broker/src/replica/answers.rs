//! Answers that the partition machine holds back, by token.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidelog_model::{KafkaError, Offset, Timestamp};
use tidelog_partition::Token;
use tokio::sync::oneshot;

/// What an append comes to: its base offset, and the broker's time if the topic asks for it.
pub(crate) type AppendResult = Result<(Offset, Timestamp), KafkaError>;

/// Where an append's answer goes.
pub(crate) type AppendReply = oneshot::Sender<AppendResult>;

/// Something to do once an offset is safe, or will never be.
pub(crate) type Then = Box<dyn FnOnce(Result<Offset, KafkaError>) + Send>;

/// One answer.
pub(crate) enum Answer {
    /// To a producer.
    Append {
        /// Where it goes.
        reply: AppendReply,
        /// Reported beside the offset.
        append_time: Timestamp,
    },
    /// To the coordinator's callers.
    Then(Then),
}

/// All answers of one partition that are open.
#[derive(Default)]
pub(crate) struct Answers {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_token: HashMap<Token, Answer>,
}

impl Answers {
    /// Keeps an answer under a new token.
    pub(crate) fn open(&self, answer: Answer) -> Token {
        let mut open = self.open.lock();
        let token = Token(open.next);
        open.next += 1;
        open.by_token.insert(token, answer);
        token
    }

    /// A duplicate reports the time of the original, where the topic's time is the broker's.
    pub(crate) fn set_append_time(&self, token: Token, original: Timestamp) {
        if let Some(Answer::Append { append_time, .. }) = self.open.lock().by_token.get_mut(&token)
            && *append_time != Timestamp::NONE
        {
            *append_time = original;
        }
    }

    /// Gives the answer its result and lets it go.
    pub(crate) fn give(&self, token: Token, result: Result<Offset, KafkaError>) {
        let answer = self.open.lock().by_token.remove(&token);
        match answer {
            // A client that hung up does not hear it.
            Some(Answer::Append { reply, append_time }) => drop(reply.send(result.map(|base| (base, append_time)))),
            Some(Answer::Then(then)) => then(result),
            None => {}
        }
    }

    /// Answers everything that is open with an error: nobody else will.
    pub(crate) fn fail_all(&self, error: KafkaError) {
        let tokens: Vec<Token> = self.open.lock().by_token.keys().copied().collect();
        for token in tokens {
            self.give(token, Err(error));
        }
    }
}
