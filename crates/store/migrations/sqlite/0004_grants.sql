-- What authorization servers gave us for tool servers.
CREATE TABLE grants (
    server TEXT NOT NULL PRIMARY KEY,
    given TEXT NOT NULL
) STRICT, WITHOUT ROWID;
