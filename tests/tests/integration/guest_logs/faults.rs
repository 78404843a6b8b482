//! Object stores that fail, agents that are killed, full disks, and hostile names, files and metafiles.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use trove_couchdb_tests::bus::Request;
use trove_couchdb_tests::until::until;

use super::super::full_disk::Disk;
use super::{CONTAINER, Logs, in_memory, is, lines, state};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_fails_is_named_and_what_was_published_counts() -> Result<()> {
    let plan =
        in_memory().set("swift.timeout", 1).set("guest_log.timeout", 30).set("guest_log.piece_bytes", 4096);
    let logs = Logs::of(plan).await?;
    logs.write("one\n")?;

    logs.swift.tokens("OTHER test-tenant\n")?;
    let error = logs.refused("publish").await;
    assert!(
        error.contains("SwiftError") && error.contains("token") && error.contains("log in again"),
        "{error}"
    );
    logs.swift.tokens("TOKEN other-tenant\n")?;
    let error = logs.refused("publish").await;
    assert!(error.contains("does not let the user write to the container database_logs"), "{error}");
    logs.swift.tokens("TOKEN test-tenant\n")?;
    for (fault, words) in [
        ("PUT /couchdb-couchdb/log 413", "413"),
        ("PUT /couchdb-couchdb/log 500", "the object store answered 500"),
        ("GET metafile 503", "the object store answered 503"),
        ("PUT /couchdb-couchdb/log hang", "did not answer within 1 s"),
        ("GET metafile hang", "did not answer within 1 s"),
    ] {
        logs.swift.faults(&format!("{fault}\n"))?;
        let error = logs.refused("publish").await;
        assert!(error.contains("SwiftError") && error.contains(words), "{fault}: {error}");
        logs.swift.faults("")?;
        assert_eq!(logs.state().await?, is("Ready", 0, 4), "{fault}");
    }
    let shown = logs.act("publish").await?;
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, "one\n", "nothing is there twice");

    // A quota that the second piece exceeds.
    logs.act("discard").await?;
    let text = lines(0..1000);
    logs.write(&text)?;
    logs.swift.ask("POST", &format!("/{CONTAINER}"), "X-Container-Meta-Quota-Bytes: 6000\r\n").await?;
    let error = logs.refused("publish").await;
    assert!(
        error.contains("a quota is exhausted") && error.contains(" bytes were published before"),
        "{error}"
    );
    let (status, published, pending) = logs.state().await?;
    assert!(status == "Partial" && published > 4000 && published + pending == u64::try_from(text.len())?);
    logs.swift.ask("POST", &format!("/{CONTAINER}"), "X-Remove-Container-Meta-Quota-Bytes: x\r\n").await?;
    let shown = logs.act("publish").await?;
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_takes_too_long_goes_on_the_next_time() -> Result<()> {
    let logs = Logs::of(in_memory().set("guest_log.timeout", 15).set("guest_log.piece_bytes", 4096)).await?;
    let text = lines(0..400_000);
    logs.write(&text)?;
    let (status, published, pending) = state(&logs.act("publish").await?);
    assert_eq!(status, "Partial");
    assert!(published > 0 && pending > 0);
    let (_, more, _) = state(&logs.act("publish").await?);
    assert!(more > published);
    Ok(())
}

/// A piece is written, and the answer never comes; the agent is killed then, and between any two requests.
#[tokio::test(flavor = "multi_thread")]
async fn killed_during_a_publication_nothing_is_lost_or_twice() -> Result<()> {
    let mut logs = Logs::of(in_memory().set("guest_log.piece_bytes", 4096)).await?;
    let text = lines(0..500);
    logs.write(&text)?;
    for (round, fault) in
        ["PUT metafile late", "PUT /couchdb-couchdb/log late", "PUT /couchdb-couchdb/log hang"]
            .into_iter()
            .cycle()
            .take(6)
            .enumerate()
    {
        logs.swift.faults(&format!("{fault}\n"))?;
        let publish = json!({"log_name": "couchdb", "publish": 1});
        let message = logs.fixture.bus.encode_call(&Request::new("guest_log_action", publish));
        logs.fixture.bus.send(&message).await?;
        let before = logs.pieces().await?.len();
        if fault.contains("log late") {
            until("the piece is there", async || Ok(logs.pieces().await?.len() > before || before > round))
                .await?;
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        logs.fixture.agent.kill9()?;
        logs.swift.faults("")?;
        logs.fixture.agent.start_again()?;
        logs.fixture.agent.wait_ready().await?;
        // The broker delivers the command again; a publication of ours waits for its end.
        let shown = logs.act("publish").await?;
        assert_eq!(logs.swift.read_by_trove(&shown, None).await?, text, "after {fault}");
        if round % 2 == 1 {
            logs.act("discard").await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_couchdbs_log_is_not_read() -> Result<()> {
    let logs = Logs::up().await?;
    let credentials = logs.fixture.agent.credentials_file();
    std::os::unix::fs::symlink(&credentials, &logs.file)?;
    let error = logs.refused("publish").await;
    assert!(error.contains("FilesystemError") && error.contains("is a symbolic link"), "{error}");
    assert_eq!(logs.state().await?, is("Unavailable", 0, 0));
    std::fs::remove_file(&logs.file)?;
    std::fs::hard_link(&credentials, &logs.file)?;
    let error = logs.refused("publish").await;
    assert!(error.contains("has several names"), "{error}");
    std::fs::remove_file(&logs.file)?;
    assert!(logs.refused("publish").await.contains("does not exist"));
    assert!(logs.swift.names(CONTAINER).await?.iter().all(|name| !name.contains("/log-")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_contents_and_metafiles_do_no_harm() -> Result<()> {
    let logs = Logs::up().await?;
    for name in ["", "../../etc/passwd", "couchdb/", "general", "%00", "guest\n", "'; --", &"x".repeat(5000)]
    {
        let error = logs.fixture.call("guest_log_action", json!({"log_name": name, "publish": 1})).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`log_name` must be the name of a log") && error.len() < 200, "{error}");
    }
    let mut content = b"\xff\xfe\x00 not text \x1b[31m\n".to_vec();
    content.extend(vec![b'y'; 3_000_000]);
    content.push(b'\n');
    std::fs::write(&logs.file, &content)?;
    let shown = logs.act("publish").await?;
    assert_eq!(state(&shown), is("Published", u64::try_from(content.len())?, 0));
    let read = logs.swift.read_by_trove(&shown, None).await?;
    assert!(read.starts_with("\u{fffd}\u{fffd}\0 not text") && read.matches('y').count() == 3_000_000);

    // Its owner may write anything into the container.
    let metafile = shown["metafile"].as_str().unwrap();
    let put = async |text: &str| logs.swift.put(CONTAINER, metafile, text).await;
    for text in ["", "[]", "{", "{\"log_size\": -1}", &"x".repeat(100_000)] {
        put(text).await?;
        assert!(logs.refused("publish").await.contains("is not the agent's record"), "{text}");
        let listed = logs.fixture.call("guest_log_list", json!({})).await?;
        assert_eq!(state(&listed[0]).1, 0);
    }
    let known = |size: u64, next: Value| json!({"log_name": "x", "log_type": "x", "log_file": "/x", "log_size": size, "log_header_digest": "x", "next_piece": next});
    for next in
        [json!({"name": "../../other", "end": 5}), json!({"name": "log-1", "end": u64::MAX}), json!(null)]
    {
        put(&known(0, next).to_string()).await?;
        assert_eq!(state(&logs.act("publish").await?).1, u64::try_from(content.len())?);
    }
    put(&known(u64::MAX, json!(null)).to_string()).await?;
    assert_eq!(state(&logs.act("").await?).0, "Rotated");
    assert!(logs.swift.names(CONTAINER).await?.iter().all(|name| name.starts_with(&logs.fixture.id)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_directory_stops_no_publication() -> Result<()> {
    let Some(disk) = Disk::of_mib(8)? else { return Ok(()) };
    let logs = Logs::of(in_memory().set("guest.state_dir", disk.path().display().to_string())).await?;
    logs.write("one\n")?;
    disk.fill();
    assert_eq!(state(&logs.act("publish").await?), is("Published", 4, 0));
    let error = logs.refused("disable").await;
    assert!(error.contains("FilesystemError") && error.contains("nothing was done"), "{error}");
    assert_eq!(logs.state().await?, is("Published", 4, 0));
    std::fs::remove_file(disk.filling())?;
    assert_eq!(state(&logs.act("disable").await?), is("Disabled", 4, 0));
    Ok(())
}
