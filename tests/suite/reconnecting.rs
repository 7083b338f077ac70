//! When a connection is made anew, and how often, over wires that do as they are told.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};
use tokio::time::{self, Instant};
use tower_session_timeout_redis::ReconnectingConnection;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
enum Line {
    Answers,
    AnswersAfter(Duration),
    BreaksAfter(Duration),
    Silent,
    /// What a server says that is a replica by now, or has none.
    Refuses(&'static str),
}

#[derive(Clone)]
struct Wire(Arc<Mutex<Line>>);

impl Wire {
    async fn answer<T>(&self, answer: T) -> RedisResult<T> {
        let line = *self.0.lock().unwrap();
        match line {
            Line::Answers => Ok(answer),
            Line::AnswersAfter(passes) => {
                time::sleep(passes).await;
                Ok(answer)
            }
            Line::BreaksAfter(passes) => {
                time::sleep(passes).await;
                Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
            }
            Line::Silent => std::future::pending().await,
            Line::Refuses(says) => {
                Err(redis::parse_redis_value(says.as_bytes())?.extract_error().unwrap_err())
            }
        }
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.answer(Value::Okay))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.answer(vec![Value::Okay]))
    }

    fn get_db(&self) -> i64 {
        3
    }
}

/// What becomes of attempts to connect, and the wires there were.
#[derive(Clone)]
struct Exchange {
    wires: Arc<Mutex<Vec<Wire>>>,
    attempts: Arc<Mutex<usize>>,
    connects: Arc<Mutex<Line>>,
    new_wires: Arc<Mutex<Line>>,
}

impl Exchange {
    async fn connected() -> (Self, ReconnectingConnection<Wire>) {
        let line = || Arc::new(Mutex::new(Line::Answers));
        let exchange =
            Self { wires: Arc::default(), attempts: Arc::default(), connects: line(), new_wires: line() };
        let connecting = exchange.clone();
        let connection = ReconnectingConnection::new(move || {
            let exchange = connecting.clone();
            *exchange.attempts.lock().unwrap() += 1;
            async move {
                time::sleep(Duration::from_millis(10)).await;
                Wire(Arc::clone(&exchange.connects)).answer(()).await?;
                let line = *exchange.new_wires.lock().unwrap();
                let wire = Wire(Arc::new(Mutex::new(line)));
                exchange.wires.lock().unwrap().push(wire.clone());
                Ok(wire)
            }
        });
        let connection = connection.await.unwrap();
        time::sleep(SECOND).await;
        (exchange, connection)
    }

    fn set(&self, wire: usize, line: Line) {
        *self.wires.lock().unwrap()[wire].0.lock().unwrap() = line;
    }

    fn attempts(&self) -> usize {
        *self.attempts.lock().unwrap()
    }
}

async fn send(connection: &ReconnectingConnection<Wire>) -> RedisResult<Value> {
    connection.clone().req_packed_command(&redis::cmd("GET")).await
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_anew_once_for_all() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::BreaksAfter(Duration::ZERO));
    assert!(send(&connection).await.is_err());
    let all = futures_util::future::join_all((0..10).map(|_| send(&connection))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(exchange.attempts(), 2);
    assert_eq!(connection.get_db(), 3);
    exchange.set(1, Line::BreaksAfter(Duration::ZERO));
    time::sleep(SECOND).await;
    assert!(connection.clone().req_packed_commands(&redis::pipe(), 0, 1).await.is_err());
    assert!(send(&connection).await.is_ok());
    assert_eq!(exchange.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_late_failure_of_an_earlier_connection_leaves_the_present_one_alone() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::BreaksAfter(2 * SECOND));
    let late = async { assert!(send(&connection).await.is_err()) };
    let others = async {
        exchange.set(0, Line::BreaksAfter(Duration::ZERO));
        assert!(send(&connection).await.is_err());
        time::sleep(3 * SECOND).await;
        assert!(send(&connection).await.is_ok());
    };
    tokio::join!(late, others);
    assert_eq!(exchange.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_left_each_time() {
    let (exchange, connection) = Exchange::connected().await;
    for wire in 0..3 {
        exchange.set(wire, Line::Silent);
        assert!(time::timeout(SECOND / 10, send(&connection)).await.is_err());
        time::sleep(SECOND).await;
        let answer = time::timeout(SECOND, send(&connection)).await;
        assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
    }
    assert_eq!(exchange.attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_written_to_is_left_and_one_that_refuses_a_command_is_not() {
    for (says, attempts) in [
        ("-READONLY You can't write against a read only replica.\r\n", 2),
        ("-NOREPLICAS Not enough good replicas to write.\r\n", 2),
        ("-MASTERDOWN Link with MASTER is down.\r\n", 2),
        ("-ERR Error running script: @user_script: READONLY You can't write\r\n", 2),
        ("-ERR unknown command\r\n", 1),
        ("-OOM command not allowed\r\n", 1),
    ] {
        let (exchange, connection) = Exchange::connected().await;
        exchange.set(0, Line::Refuses(says));
        assert!(send(&connection).await.is_err());
        exchange.set(0, Line::Answers);
        assert!(send(&connection).await.is_ok());
        assert_eq!(exchange.attempts(), attempts, "{says}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_given_up_breaks_no_connection_that_answers() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::Silent);
    let given_up = time::timeout(SECOND / 10, send(&connection));
    assert!(given_up.await.is_err());
    exchange.set(0, Line::Answers);
    time::sleep(SECOND).await;
    assert!(send(&connection).await.is_ok());
    assert_eq!(exchange.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_commands_are_in_flight_than_allowed() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::AnswersAfter(SECOND));
    for (limit, takes) in [(2, 3), (0, 5), (usize::MAX, 1)] {
        let limited = connection.clone().concurrency_limit(limit);
        let began = Instant::now();
        let all = futures_util::future::join_all((0..5).map(|_| send(&limited))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(began.elapsed().as_secs(), takes, "with {limit}");
    }
    let limited = connection.concurrency_limit(1);
    let began = Instant::now();
    let pipeline = async { limited.clone().req_packed_commands(&redis::pipe(), 0, 1).await };
    let (one, several) = tokio::join!(send(&limited), pipeline);
    assert!(one.is_ok() && several.is_ok());
    assert_eq!(began.elapsed().as_secs(), 2, "a pipeline takes its turn, too");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_given_up_leaves_its_place_to_others() {
    let (exchange, connection) = Exchange::connected().await;
    let connection = connection.concurrency_limit(1);
    exchange.set(0, Line::Silent);
    assert!(time::timeout(SECOND / 10, send(&connection)).await.is_err());
    exchange.set(0, Line::Answers);
    let answer = time::timeout(SECOND / 10, send(&connection)).await;
    assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
}

/// In a second in which every command fails.
async fn is_tried_five_times(exchange: &Exchange, connection: &ReconnectingConnection<Wire>) {
    let began = Instant::now();
    while began.elapsed() < SECOND {
        assert!(send(connection).await.is_err());
        time::sleep(Duration::from_millis(10)).await;
    }
    assert!((4..=7).contains(&exchange.attempts()), "{}", exchange.attempts());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_tried_five_times_a_second_at_most() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::BreaksAfter(Duration::ZERO));
    *exchange.connects.lock().unwrap() = Line::BreaksAfter(Duration::ZERO);
    is_tried_five_times(&exchange, &connection).await;
    *exchange.connects.lock().unwrap() = Line::Answers;
    time::sleep(SECOND).await;
    assert!(send(&connection).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_each_connection_gets_five_a_second_at_most() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::BreaksAfter(Duration::ZERO));
    *exchange.new_wires.lock().unwrap() = Line::BreaksAfter(Duration::ZERO);
    is_tried_five_times(&exchange, &connection).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_given_up_and_no_command_waits_for_its_end() {
    let (exchange, connection) = Exchange::connected().await;
    exchange.set(0, Line::BreaksAfter(Duration::ZERO));
    *exchange.connects.lock().unwrap() = Line::Silent;
    assert!(send(&connection).await.is_err());
    let began = Instant::now();
    assert!(send(&connection).await.is_err());
    assert!(began.elapsed() <= SECOND / 2);
    *exchange.connects.lock().unwrap() = Line::Answers;
    time::sleep(6 * SECOND).await;
    assert!(send(&connection).await.is_ok());
}

#[test]
fn an_attempt_that_ended_with_its_runtime_is_made_again_in_the_next_one() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let first = runtime();
    let (exchange, connection) = first.block_on(async {
        let (exchange, connection) = Exchange::connected().await;
        exchange.set(0, Line::BreaksAfter(Duration::ZERO));
        *exchange.connects.lock().unwrap() = Line::Silent;
        assert!(send(&connection).await.is_err());
        assert!(send(&connection).await.is_err());
        (exchange, connection)
    });
    drop(first);
    *exchange.connects.lock().unwrap() = Line::Answers;
    runtime().block_on(async {
        // Longer than the first one was ahead: each begins at the present.
        time::sleep(10 * SECOND).await;
        assert!(send(&connection).await.is_ok());
    });
}
