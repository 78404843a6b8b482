#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trove_couchdb_properties::conductor(data));
