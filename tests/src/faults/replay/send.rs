//! Sends the messages of a schedule.

use anyhow::Result;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::schedule::{Command, Way};
use super::{GIVES_UP, LARGEST_MESSAGE, Replay, SETTLES};
use crate::bus::{Request, notification};
use crate::local::LocalClient;
use crate::until::HUNG;

impl Replay {
    pub(super) async fn send(&mut self, command: &Command) -> Result<()> {
        let gives_up = self.give_up.contains(command);
        let mut request = command.request(&self.fixture);
        if let Some(id) = self.id_of(command) {
            request = request.id(&id);
        }
        let message = if command.way == Way::Call {
            let message =
                self.fixture.bus.encode_call(&request.timeout(if gives_up { GIVES_UP } else { HUNG }));
            let reply = self.fixture.bus.expect_reply(&message);
            self.calls.push((command.clone(), reply, gives_up.then(|| Instant::now() + GIVES_UP)));
            message
        } else {
            let notification = notification(&self.fixture.id, &request.method);
            self.fixture.bus.encode_cast(&request.notified(notification))
        };
        self.fixture.bus.send(&message).await?;
        self.sent.push((command.clone(), message));
        Ok(())
    }

    pub(super) async fn send_locally(&mut self, command: &Command) -> Result<()> {
        let mut request = command.request(&self.fixture);
        if let Some(id) = self.id_of(command) {
            request = request.id(&id);
        }
        let message = LocalClient::encode_call(&request);
        let client = self.fixture.local().await?;
        let answer = client.expect_answer(&message);
        client.send(&message).await?;
        self.local.push((command.clone(), answer, client));
        self.sent.push((command.clone(), message));
        Ok(())
    }

    /// The id of the same command, sent before.
    fn id_of(&self, command: &Command) -> Option<String> {
        let sent = self.sent.iter().find(|(sent, _)| sent.is_same(command));
        sent.map(|(_, message)| message.unique_id.clone())
    }

    /// Has the agent publish a message that the broker finds too large: the report of a cast's end contains its
    /// notification twice.
    pub(super) async fn close_channel(&self) -> Result<()> {
        let mut end = notification(&self.fixture.id, "create_database");
        end["padding"] = "x".repeat(LARGEST_MESSAGE * 6 / 10).into();
        let args = json!({"databases": [{"_name": self.fixture.name("padding")}]});
        self.fixture.bus.cast(&Request::new("create_database", args).notified(end)).await?;
        sleep(SETTLES).await;
        Ok(())
    }
}
