//! A minimal guest in Rust: takes a request from the queue, answers `true`, acknowledges.
//!
//! Caller: the section `rpc`, to measure the cost of the agent's guarantees. This guest has no deduplication,
//! no order, no CouchDB and no second connection. With `--confirm` it waits for the broker's confirmation of
//! the answer before it acknowledges, as the agent does; without it, it loses commands when it dies.

use anyhow::{Context, Result};
use clap::Parser;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use serde_json::{Value, json};

/// A minimal guest.
#[derive(Debug, Parser)]
struct Args {
    /// The URI of the broker.
    #[arg(long)]
    uri: String,
    /// The control exchange, which must exist.
    #[arg(long)]
    exchange: String,
    /// The queue to serve.
    #[arg(long)]
    queue: String,
    /// Wait for the broker's confirmation of an answer before acknowledging the request.
    #[arg(long)]
    confirm: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { uri, exchange, queue, confirm } = Args::parse();
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let none = FieldTable::default;
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), none()).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(queue.as_str().into(), exchange.into(), queue.as_str().into(), bind, none()).await?;
    channel.basic_qos(64, BasicQosOptions::default()).await?;
    let replies = connection.create_channel().await?;
    if confirm {
        replies.confirm_select(ConfirmSelectOptions::default()).await?;
    }
    let options = BasicConsumeOptions::default();
    let mut requests = channel.basic_consume(queue.as_str().into(), "".into(), options, none()).await?;
    println!("ready");
    while let Some(request) = requests.next().await {
        let request = request?;
        if confirm {
            let replies = replies.clone();
            tokio::spawn(async move { serve(&replies, &request).await });
        } else {
            serve(&replies, &request).await?;
        }
    }
    Ok(())
}

async fn serve(replies: &Channel, request: &Delivery) -> Result<()> {
    let outer: Value = serde_json::from_slice(&request.data)?;
    let inner: Value = serde_json::from_str(outer["oslo.message"].as_str().context("no envelope")?)?;
    let reply = json!({
        "result": true, "failure": null, "ending": true, "_msg_id": inner["_msg_id"], "_unique_id": inner["_unique_id"],
    });
    let body = json!({ "oslo.version": "2.0", "oslo.message": reply.to_string() }).to_string();
    let queue = inner["_reply_q"].as_str().context("a cast")?;
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    replies.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await?.await?;
    request.ack(BasicAckOptions::default()).await?;
    Ok(())
}
