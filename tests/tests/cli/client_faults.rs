//! Agents and brokers that misbehave: each error has its own message and exit code.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use trove_couchdb_protocol::{
    Outcome, Request, encode_call_monitor_beat, encode_reply, frame, new_id,
    reply::{Failure, FailureClass},
};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq;
use trove_couchdb_tests::until::HUNG;

use crate::tool::{Tool, private};

/// A socket that passes one request of each connection to `answer`.
fn agent<F, A>(answer: A) -> Result<(tempfile::TempDir, Tool)>
where
    A: Fn(Request, UnixStream) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let directory = tempfile::tempdir()?;
    let path: PathBuf = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&path)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u32().await.unwrap();
            let mut body = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            answer(Request::decode(&body, None, 1 << 20).unwrap(), stream).await;
        }
    });
    Ok((directory, Tool::plain(&["--socket", &path.to_string_lossy(), "--timeout", "2"])))
}

/// Over RabbitMQ, configured only by command-line options.
async fn by_options(fixture: &Fixture) -> Result<Tool> {
    let directory = fixture.agent.directory();
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    private(&directory.join("url"), &format!("{}\n", rabbitmq::shared().await?.transport_url()))?;
    private(&directory.join("nothing.toml"), "")?;
    std::fs::create_dir_all(directory.join("nothing.d"))?;
    let (url, key, nothing, nothing_d) = (file("url"), file("key"), file("nothing.toml"), file("nothing.d"));
    let mut options = vec!["--instance", &fixture.id, "--transport-url-file", &url];
    options.extend(["--control-exchange", fixture.exchange()]);
    // The configuration of the test machine must not be used.
    options.extend(["--config", &nothing, "--config-dir", &nothing_d]);
    if let Some(secret) = &fixture.key {
        private(&directory.join("key"), secret)?;
        options.extend(["--key-file", &key]);
    }
    Ok(Tool::plain(&options))
}

async fn say(stream: &mut UnixStream, payload: &[u8]) {
    stream.write_all(&frame::encode(payload).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_and_other_calls_answers_are_passed_over() -> Result<()> {
    let (_directory, cli) = agent(|request, mut stream| async move {
        let to = request.reply.unwrap();
        say(&mut stream, &encode_call_monitor_beat(&to, &new_id())).await;
        let other = trove_couchdb_protocol::ReplyAddress { msg_id: "other".into(), ..to.clone() };
        say(&mut stream, &encode_reply(&other, &new_id(), &Outcome::Success(json!(false)), None)).await;
        // In pieces, as from a slow stream.
        let answer = encode_reply(&to, &new_id(), &Outcome::Success(json!(true)), None);
        for byte in frame::encode(&answer).unwrap() {
            stream.write_all(&[byte]).await.unwrap();
        }
    })?;
    assert_eq!(cli.json(&["ping"]).await?["alive"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_an_agent_has_its_code() -> Result<()> {
    let (_a, silent) = agent(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })?;
    let error = silent.refused(5, &["ping"]).await?;
    assert!(error.contains("no answer") && error.contains("may also have taken effect"), "{error}");

    let (_b, closing) = agent(|_, stream| async move { drop(stream) })?;
    assert!(closing.refused(4, &["ping"]).await?.contains("closed it"));

    let (_c, refusing) = agent(|request, mut stream| async move {
        // A failure without a request: the reason why the agent closes the connection.
        let mut to = request.reply.unwrap();
        to.msg_id = String::new();
        let failure = Failure::new(FailureClass::TooManyConnections, "32 are connected already");
        say(&mut stream, &encode_reply(&to, &new_id(), &Outcome::Failure(failure), None)).await;
    })?;
    assert!(refusing.refused(1, &["ping"]).await?.contains("32 are connected"));

    let (_d, babbling) = agent(|_, mut stream| async move { say(&mut stream, b"no envelope").await })?;
    assert!(babbling.refused(1, &["ping"]).await?.contains("can't be read"));

    let (_e, old) = agent(|request, mut stream| async move {
        let failure = Outcome::Failure(Failure::no_such_method(&request.method));
        say(&mut stream, &encode_reply(&request.reply.unwrap(), &new_id(), &failure, None)).await;
    })?;
    assert!(old.refused(1, &["status"]).await?.contains("the agent is older"));

    let missing = Tool::plain(&["--socket", "/nowhere/agent.sock"]);
    assert!(missing.refused(4, &["ping"]).await?.contains("systemctl start"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_a_marker_that_stays_where_it_was_ends() -> Result<()> {
    let (_directory, cli) = agent(|mut request, mut stream| async move {
        loop {
            let page = json!([[{"_name": "al", "_host": "%", "_databases": []}], "al"]);
            let answer =
                encode_reply(&request.reply.clone().unwrap(), &new_id(), &Outcome::Success(page), None);
            say(&mut stream, &answer).await;
            let Ok(length) = stream.read_u32().await else { return };
            let mut body = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            request = Request::decode(&body, None, 1 << 20).unwrap();
        }
    })?;
    assert_eq!(cli.must(&["user-list", "-o", "value"]).await?, "al\t%\t\nal\t%\t\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_listens_for_an_unknown_instance() -> Result<()> {
    let fixture = Fixture::up().await?;
    let cli = by_options(&fixture).await?;
    let error = cli.refused(4, &["ping", "--instance", "no-such-instance"]).await?;
    assert!(error.contains("no agent listens for instance no-such-instance"), "{error}");
    let error = cli.refused(4, &["ping", "--control-exchange", "no-such-exchange"]).await?;
    assert!(error.contains("no-such-exchange"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agents_queue_and_a_wrong_key_are_named() -> Result<()> {
    let mut fixture = FixtureBuilder::default().encrypted().up().await?;
    let cli = by_options(&fixture).await?;
    let key = fixture.agent.directory().join("wrong");
    std::fs::write(&key, "wrong key")?;
    let error = cli.refused(1, &["ping", "--key-file", &key.to_string_lossy()]).await?;
    assert!(error.contains("does not decrypt") && error.contains("--key-file"), "{error}");
    fixture.agent.kill9()?;
    fixture.agent.exit_within(HUNG).await?;
    let error = cli.refused(4, &["ping", "--timeout", "2"]).await?;
    assert!(error.contains("has no consumer on queue"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_url_comes_from_four_places_and_shows_in_no_error() -> Result<()> {
    let fixture = Fixture::up().await?;
    let url = rabbitmq::shared().await?.transport_url();
    let conf_d = fixture.agent.directory().join("conf.d");
    let file = conf_d.join("trove-guestagent.conf").to_string_lossy().into_owned();
    let nothing = fixture.agent.directory().join("nothing.d");
    std::fs::create_dir_all(&nothing)?;
    let base = Tool::plain(&[
        "--instance",
        &fixture.id,
        "--control-exchange",
        fixture.exchange(),
        "--config-dir",
        &nothing.to_string_lossy(),
    ]);
    base.must(&["ping", "--transport-url", &url]).await?;
    base.clone().env("TROVE_COUCHDB_TRANSPORT_URL", &url).must(&["ping"]).await?;
    base.must(&["ping", "--config-file", &file]).await?;
    let error = base.refused(64, &["ping"]).await?;
    assert!(error.contains("transport_url"), "{error}");
    let wrong = url.replacen("trove:", "trove:s3cretx", 1);
    let error = base.refused(4, &["ping", "--transport-url", &wrong]).await?;
    assert!(error.contains("check user and password") && !error.contains("s3cretx"), "{error}");
    let error = base.refused(64, &["ping", "--transport-url", "rabbit://u:s3cretx@h:port/"]).await?;
    assert!(!error.contains("s3cretx"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reply_queue_is_left_on_the_broker() -> Result<()> {
    let fixture = Fixture::up().await?;
    let cli = by_options(&fixture).await?;
    cli.must(&["ping"]).await?;
    cli.refused(3, &["user-show", "nobody-of-that-name"]).await?;
    let reply_queues = fixture
        .agent
        .logs()
        .split("reply_")
        .skip(1)
        .filter_map(|rest| rest.get(..32).map(|id| format!("reply_{id}")))
        .collect::<std::collections::BTreeSet<_>>();
    for queue in reply_queues.iter().filter(|queue| **queue != fixture.rpc.reply_queue()) {
        let channel = fixture.rpc.channel().await?;
        let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let found =
            channel.queue_declare(queue.as_str().into(), passive, lapin::types::FieldTable::default()).await;
        assert!(found.is_err(), "{queue} is still there");
    }
    Ok(())
}
