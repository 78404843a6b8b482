//! Every option that the agent sets, by name. Trove's `validation-rules.json` and docs/couchdb-options.md are
//! generated from it (`make reference`).

use crate::configuration::{
    option::{
        ConfigOption,
        Kind::{self, Bool, Text, Word},
        live, whole,
    },
    table_of_logins::LOGINS,
    table_of_replicator::REPLICATOR,
};

const LOG_LEVELS: &[&str] =
    &["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency", "none"];
const COMPRESSION: &[&str] = &[
    "none",
    "snappy",
    "deflate_1",
    "deflate_2",
    "deflate_3",
    "deflate_4",
    "deflate_5",
    "deflate_6",
    "deflate_7",
    "deflate_8",
    "deflate_9",
];
const UUIDS: &[&str] = &["random", "sequential", "utc_random", "utc_id"];
const REDUCE_LIMIT: &[&str] = &["true", "false", "log"];

/// An hour in milliseconds, for time limits.
const HOUR: u64 = 3_600_000;
const GIB: u64 = 1 << 30;

/// Everything but logins and replication.
const SERVER: &[ConfigOption] = &[
    live(
        "attachments.compressible_types",
        Text,
        (1, 6),
        "Media types of attachments that CouchDB compresses.",
    ),
    live(
        "attachments.compression_level",
        whole(0, 9),
        (1, 6),
        "How much CouchDB compresses attachments; 0 does not.",
    ),
    live("chttpd.admin_only_all_dbs", Bool, (3, 0), "Only administrators may list the databases."),
    live(
        "chttpd.bind_address",
        Kind::Address,
        (2, 0),
        "The address at which CouchDB listens. The agent must reach it at couchdb.url.",
    ),
    live(
        "chttpd.buffer_response",
        Bool,
        (2, 0),
        "CouchDB sends an answer only when it is complete, so that an error has its own status.",
    ),
    live(
        "chttpd.changes_timeout",
        whole(1, HOUR),
        (2, 0),
        "After how many milliseconds an idle `_changes` request gets a sign of life.",
    ),
    live("chttpd.enable_cors", Bool, (3, 2), "Browsers may use CouchDB from the sites in cors.origins."),
    live(
        "chttpd.enable_xframe_options",
        Bool,
        (3, 2),
        "CouchDB tells browsers not to show its pages in frames.",
    ),
    live(
        "chttpd.max_db_number_for_dbs_info_req",
        whole(1, 100_000),
        (2, 2),
        "How many databases one `_dbs_info` request may name.",
    ),
    live("chttpd.max_http_request_size", whole(1_048_576, 4 * GIB), (2, 1), "The longest request in bytes."),
    live("chttpd.require_valid_user", Bool, (1, 6), "Every request needs a login, also to `/` and `/_up`."),
    live(
        "chttpd.require_valid_user_except_for_up",
        Bool,
        (3, 2),
        "Every request needs a login, except to `/_up`, for load balancers.",
    ),
    live("cluster.q", whole(1, 256), (2, 0), "Into how many shards a new database is divided."),
    live("cors.credentials", Bool, (1, 6), "Browsers may send cookies and logins from other sites."),
    live("cors.headers", Text, (1, 6), "Headers that browsers may send from other sites."),
    live(
        "cors.max_age",
        whole(0, 31_536_000),
        (1, 6),
        "For how many seconds browsers remember these permissions.",
    ),
    live("cors.methods", Text, (1, 6), "Methods that browsers may use from other sites."),
    live("cors.origins", Text, (1, 6), "The sites from which browsers may use CouchDB; `*` is every site."),
    live(
        "couchdb.attachment_stream_buffer_size",
        whole(1_024, GIB),
        (1, 6),
        "In pieces of how many bytes attachments are written.",
    ),
    live(
        "couchdb.changes_doc_ids_optimization_threshold",
        whole(0, 1_000_000),
        (1, 6),
        "Up to how many document ids a filtered `_changes` looks up one by one.",
    ),
    live(
        "couchdb.enable_database_recovery",
        Bool,
        (2, 0),
        "A deleted database is renamed, so that an administrator of the machine can restore it.",
    ),
    live(
        "couchdb.file_compression",
        Word(COMPRESSION),
        (1, 6),
        "How new data in database files is compressed.",
    ),
    live("couchdb.max_attachment_size", whole(1, 1 << 40), (2, 2), "The largest attachment in bytes."),
    live(
        "couchdb.max_dbs_open",
        whole(100, 1_000_000),
        (1, 6),
        "How many database files are open at the same time.",
    ),
    live("couchdb.max_document_id_length", whole(255, 100_000), (2, 0), "The longest document id in bytes."),
    live(
        "couchdb.max_document_size",
        whole(65_536, 4 * GIB),
        (1, 6),
        "The largest document in bytes, without attachments.",
    ),
    live(
        "couchdb.max_partition_size",
        whole(0, 1 << 40),
        (3, 0),
        "The largest partition in bytes; 0 is no limit.",
    ),
    live(
        "couchdb.os_process_timeout",
        whole(100, HOUR),
        (1, 6),
        "How many milliseconds a view's function may take.",
    ),
    live(
        "couchdb.update_lru_on_read",
        Bool,
        (2, 0),
        "Reading a database counts as its use, when one must be closed.",
    ),
    live(
        "fabric.all_docs_timeout",
        whole(1_000, 24 * HOUR),
        (2, 0),
        "After how many milliseconds `_all_docs` fails.",
    ),
    live(
        "fabric.attachments_timeout",
        whole(1_000, 24 * HOUR),
        (2, 0),
        "After how many milliseconds the transfer of an attachment fails.",
    ),
    live(
        "fabric.request_timeout",
        whole(1_000, 24 * HOUR),
        (2, 0),
        "After how many milliseconds a request to a document fails.",
    ),
    live(
        "fabric.view_timeout",
        whole(1_000, 24 * HOUR),
        (2, 0),
        "After how many milliseconds a request to a view fails.",
    ),
    live("ioq.concurrency", whole(1, 10_000), (2, 1), "How many operations on files run at the same time."),
    live("log.level", Word(LOG_LEVELS), (1, 6), "The least important message that CouchDB logs."),
    live(
        "mango.default_limit",
        whole(1, 1_000_000),
        (2, 1),
        "How many documents `_find` returns if the request does not say.",
    ),
    live("mango.index_all_disabled", Bool, (2, 1), "Indexes of all fields are refused."),
    live(
        "mango.index_scan_warning_threshold",
        whole(0, 1_000_000_000),
        (3, 0),
        "`_find` warns if it read this many times more documents than it returned; 0 never does.",
    ),
    live(
        "purge.max_document_id_number",
        whole(1, 1_000_000),
        (2, 3),
        "How many documents one `_purge` may name.",
    ),
    live(
        "purge.max_revisions_number",
        whole(1, 1_000_000),
        (2, 3),
        "How many revisions one `_purge` may name.",
    ),
    live(
        "query_server_config.commit_freq",
        whole(1, 86_400),
        (1, 6),
        "Every how many seconds a view's index is written while it is built.",
    ),
    live(
        "query_server_config.os_process_limit",
        whole(10, 100_000),
        (1, 6),
        "How many processes for views run at the same time.",
    ),
    live(
        "query_server_config.os_process_soft_limit",
        whole(1, 100_000),
        (2, 0),
        "How many idle processes for views are kept.",
    ),
    live(
        "query_server_config.partition_query_limit",
        whole(1, 268_435_456),
        (3, 0),
        "The most rows that a view of a partition returns.",
    ),
    live(
        "query_server_config.query_limit",
        whole(1, 268_435_456),
        (3, 0),
        "The most rows that a view returns.",
    ),
    live(
        "query_server_config.reduce_limit",
        Word(REDUCE_LIMIT),
        (1, 6),
        "Whether a reduce function whose result grows with its input fails, or is only logged.",
    ),
    live("uuids.algorithm", Word(UUIDS), (1, 6), "How CouchDB makes ids of documents."),
    live(
        "uuids.max_count",
        whole(1, 1_000_000),
        (1, 6),
        "How many ids one `_uuids` request returns at most.",
    ),
    live("uuids.utc_id_suffix", Text, (1, 6), "What the algorithm `utc_id` adds to the time."),
    live(
        "view_updater.min_writer_items",
        whole(1, 1_000_000),
        (2, 0),
        "After how many rows a view's index is written.",
    ),
    live(
        "view_updater.min_writer_size",
        whole(1, GIB),
        (2, 0),
        "After how many bytes a view's index is written.",
    ),
];

/// Every option, grouped by what it is about.
pub fn options() -> impl Iterator<Item = &'static ConfigOption> {
    SERVER.iter().chain(LOGINS).chain(REPLICATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_section_and_a_key_once() {
        let mut names: Vec<_> = options().map(|option| option.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
        };
        for option in options() {
            assert!(is_word(option.section()) && is_word(option.key()), "{}", option.name);
            assert!(option.about.ends_with('.'), "{}", option.name);
        }
        for part in [SERVER, LOGINS, REPLICATOR] {
            assert!(part.is_sorted_by(|one, other| one.name < other.name));
        }
    }
}
