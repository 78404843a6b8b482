# What the operator may set; README.rst explains it.
export DIB_TROVE_COUCHDB_AGENT_DEB=${DIB_TROVE_COUCHDB_AGENT_DEB:-}
export DIB_TROVE_COUCHDB_CONFIG=${DIB_TROVE_COUCHDB_CONFIG:-}
export DIB_TROVE_COUCHDB_REPOSITORY=${DIB_TROVE_COUCHDB_REPOSITORY:-https://apache.jfrog.io/artifactory/couchdb-deb/}
export DIB_TROVE_COUCHDB_KEY=${DIB_TROVE_COUCHDB_KEY:-https://couchdb.apache.org/repo/keys.asc}
# The Apache Software Foundation (Package repository signing key) <root@apache.org>, as in CouchDB's own Dockerfile.
export DIB_TROVE_COUCHDB_KEY_FINGERPRINT=${DIB_TROVE_COUCHDB_KEY_FINGERPRINT:-390EF70BB1EA12B2773962950EE62FB37A00258D}
# A version of CouchDB's package, such as "3.5.0*"; empty for the newest.
export DIB_TROVE_COUCHDB_VERSION=${DIB_TROVE_COUCHDB_VERSION:-}
