"""pyarrow and DuckDB read the Parquet files of a topic that is exported as a table, and agree with its log.

The log is read by confluent-kafka; the expected values come from the sample itself (TIDELOG_SAMPLE), sent by HTTP in several
requests, so that there are several files per partition and columns that appear late."""

import datetime
import glob
import json
import os
import urllib.request

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from checks import BROKERS, Checks, equal, topic, wait_for
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

HTTP, DATA = os.environ["TIDELOG_HTTP"], os.environ["TIDELOG_DATA"]
QUAKES, MIXED = topic("quakes").replace("-", "_"), topic("mixed").replace("-", "_")
# Fields of the sample that the topic's settings declare as integers.
INTEGERS = {"time", "updated"}


def request(method, path, body=None, content_type="application/json"):
    call = urllib.request.Request(HTTP + path, body, {"Content-Type": content_type}, method=method)
    with urllib.request.urlopen(call, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def create(name, partitions, **config):
    settings = {"tidelog.table.enable": "true", "tidelog.table.flush.interval.ms": "200",
                **{k.replace("_", "."): v for k, v in config.items()}}
    request("POST", "/v1/topics", json.dumps({"name": name, "partitions": partitions, "config": settings}).encode())


def exported(name, records):
    """Waits until all of the topic's records are in files."""
    def done():
        table = next((t for t in request("GET", "/v1/tables")["tables"] if t["topic"] == name), None)
        return table and table["rows"] >= records and all(p["lag"] == 0 for p in table["partitions"]) and table
    return wait_for(done, f"export of {records} records of {name}", 180)


def files(name):
    """What a reader who lists the directory sees."""
    found = sorted(glob.glob(f"{DATA}/object-store/**/tables/{name}-*/partition=*/**/*.parquet", recursive=True))
    equal(bool(found), True, "there are files")
    return found


def log(name, partitions):
    """Everything that the topic's log has, in order of partition and offset."""
    consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": topic("tables"), "enable.auto.commit": False,
                         "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in range(partitions)])
        messages, ended = [], 0
        while ended < partitions:
            message = consumer.poll(10)
            if message is None:
                raise AssertionError("the log does not answer")
            if message.error():
                ended += 1
            else:
                messages.append(message)
        return sorted(messages, key=lambda m: (m.partition(), m.offset()))
    finally:
        consumer.close()


def rows(name):
    """All rows by pyarrow, each file with its own schema, missing columns as None."""
    found = []
    for path in files(name):
        found.extend(pq.ParquetFile(path).read().to_pylist())
    return sorted(found, key=lambda row: (row["_partition"], row["_offset"]))


def as_columns(value, path=()):
    """A JSON value as the table is meant to hold it: numbers are DOUBLE unless the settings say otherwise."""
    if isinstance(value, dict):
        return {k: as_columns(v, path + (k,)) for k, v in value.items()}
    if isinstance(value, list):
        return [as_columns(v, path) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if path and path[-1] in INTEGERS else float(value)
    return value


def agree(got, expected, where):
    """Every field of the sample is in the row; what the row has more is null."""
    if isinstance(expected, dict):
        equal(isinstance(got, dict), True, f"{where} is a struct")
        for name in expected.keys() | got.keys():
            agree(got.get(name), expected.get(name), f"{where}.{name}")
    else:
        equal((got, type(got)), (expected, type(expected)), where)


def sample():
    with open(os.environ["TIDELOG_SAMPLE"], "rb") as file:
        return file.read().splitlines()


def publish():
    create(QUAKES, 3, tidelog_table_json_integers="properties.time,properties.updated")
    lines = sample()
    for start in range(0, len(lines), 300):
        answer = request("POST", f"/v1/topics/{QUAKES}/events?key_field=/id", b"\n".join(lines[start:start + 300]),
                         "application/x-ndjson")
        equal([o for o in answer["offsets"] if "error_code" in o], [], "refused")
        # One export after the other, so that there is more than one file per partition.
        exported(QUAKES, min(start + 300, len(lines)))


def arrow_counts():
    found = ds.dataset(files(QUAKES), format="parquet")
    equal(found.count_rows(), len(sample()), "rows")
    table = found.to_table(columns=["_partition", "_offset", "id"])
    pairs = set(zip(table["_partition"].to_pylist(), table["_offset"].to_pylist()))
    equal(pairs, {(m.partition(), m.offset()) for m in log(QUAKES, 3)}, "(partition, offset)")
    equal(len(table), len(pairs), "distinct (partition, offset)")
    equal(len(set(table["id"].to_pylist())), len(sample()), "distinct ids")


def arrow_rows():
    messages = log(QUAKES, 3)
    equal(len(messages), len(sample()), "records")
    for row, message in zip(rows(QUAKES), messages, strict=True):
        where = f"{message.partition()}@{message.offset()}"
        equal((row["_partition"], row["_offset"]), (message.partition(), message.offset()), "position")
        equal(row["_key"], message.key(), f"{where} _key")
        equal(row["_headers"], None, f"{where} _headers")
        equal(row["_timestamp"], datetime.datetime.fromtimestamp(message.timestamp()[1] / 1000, datetime.UTC),
              f"{where} _timestamp")
        equal((row.get("_raw"), row.get("_value")), (None, None), f"{where} _raw and _value")
        value = {k: v for k, v in row.items() if not k.startswith("_")}
        agree(value, as_columns(json.loads(message.value())), where)


def arrow_types():
    for path in files(QUAKES):
        schema = pq.read_schema(path)
        properties = schema.field("properties").type
        types = {name: schema.field(name).type for name in ("_partition", "_offset", "_timestamp", "_key", "id")}
        equal(types, {"_partition": pa.int32(), "_offset": pa.int64(), "_timestamp": pa.timestamp("us", tz="UTC"),
                      "_key": pa.binary(), "id": pa.string()}, "types")
        inner = {name: properties.field(name).type for name in ("mag", "gap", "time", "magType", "tsunami")}
        equal(inner, {"mag": pa.float64(), "gap": pa.float64(), "time": pa.int64(), "magType": pa.string(),
                      "tsunami": pa.float64()}, "types in properties")
        coordinates = schema.field("geometry").type.field("coordinates").type
        equal((pa.types.is_list(coordinates), coordinates.value_type), (True, pa.float64()), "coordinates")
        headers = schema.field("_headers").type
        equal([f.name for f in headers.value_type], ["key", "value"], "headers")


def arrow_field_ids():
    """Every column, nested too, has an id; one name has one id in every file."""
    ids = {}

    def walk(field, path):
        number = (field.metadata or {}).get(b"PARQUET:field_id")
        equal(number is not None, True, f"{path} has a field id")
        equal(ids.setdefault(path, number), number, f"field id of {path}")
        if pa.types.is_struct(field.type):
            for child in field.type:
                walk(child, f"{path}.{child.name}")
        elif pa.types.is_list(field.type):
            walk(field.type.value_field, f"{path}[]")

    for path in files(QUAKES):
        for field in pq.read_schema(path):
            walk(field, field.name)
    equal(len(set(ids.values())), len(ids), "distinct field ids")


def duck(sql, name):
    listing = ", ".join(f"'{path}'" for path in files(name))
    with duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        return connection.sql(sql.replace("TABLE", f"read_parquet([{listing}], union_by_name = true)")).fetchall()


def duck_counts():
    values = [json.loads(line) for line in sample()]
    properties = [v["properties"] for v in values]
    found = duck("""select count(*), count(distinct (_partition, _offset)), count(distinct id), count(properties.alert),
        count(properties.gap), min(properties.time), max(properties.time), sum(properties.time), min(_offset), count(_key)
        from TABLE""", QUAKES)
    times = [p["time"] for p in properties]
    equal(found, [(len(values), len(values), len(values), sum(p["alert"] is not None for p in properties),
                   sum(p["gap"] is not None for p in properties), min(times), max(times), sum(times), 0, len(values))])
    (mag, depth), = duck("select sum(properties.mag), sum(geometry.coordinates[3]) from TABLE", QUAKES)
    equal(abs(mag - sum(p["mag"] for p in properties)) < 1e-6, True, f"sum of mag, {mag}")
    equal(abs(depth - sum(v["geometry"]["coordinates"][2] for v in values)) < 1e-6, True, f"sum of depth, {depth}")


def duck_groups():
    expected = {}
    for line in sample():
        net = json.loads(line)["properties"]["net"]
        expected[net] = expected.get(net, 0) + 1
    equal(dict(duck("select properties.net, count(*) from TABLE group by 1", QUAKES)), expected, "events by network")


def duck_types():
    types = {row[0]: row[1] for row in duck("describe select _partition, _offset, _timestamp, _key, id, "
                                            "properties.mag as mag, properties.gap as gap, properties.time as time, "
                                            "geometry.coordinates as coordinates from TABLE", QUAKES)}
    equal(types, {"_partition": "INTEGER", "_offset": "BIGINT", "_timestamp": "TIMESTAMP WITH TIME ZONE", "_key": "BLOB",
                  "id": "VARCHAR", "mag": "DOUBLE", "gap": "DOUBLE", "time": "BIGINT", "coordinates": "DOUBLE[]"})


def duck_directory():
    """The line that the README shows: a pattern over the directory."""
    pattern = f"{DATA}/object-store/*/tables/{QUAKES}-*/*/*.parquet"
    with duckdb.connect() as connection:
        found = connection.sql(f"select count(*), count(distinct id) from read_parquet('{pattern}', union_by_name=true)").fetchall()
    equal(found, [(len(sample()), len(sample()))])


def server_sql():
    statement = (f"SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(properties['mag']) AS mag, "
                 f"sum(properties['time']) AS t FROM {QUAKES}")
    row, = request("POST", "/v1/query", json.dumps({"sql": statement}).encode())["rows"]
    properties = [json.loads(line)["properties"] for line in sample()]
    equal((row["n"], row["ids"], row["t"]), (len(properties), len(properties), sum(p["time"] for p in properties)))
    equal(abs(row["mag"] - sum(p["mag"] for p in properties)) < 1e-6, True, f"sum of mag, {row['mag']}")


MIXED_VALUES = [
    (b"a", b'{"n":1,"s":"x"}', []),
    (None, b'{"n":"text","s":"y"}', []),         # does not fit: n is DOUBLE
    (b"c", b'[1,2]', []),                        # no object
    (b"d", b'not json', []),
    (b"e", None, []),                            # a tombstone
    (b"f", b'{"n":9007199254740993}', []),       # no double holds it
    (b"g", b'{"late":{"deep":[true]}}', [("h", b"1"), ("h", b"2"), ("none", None)]),
    (b"h", b'', []),
]


def mixed_rows():
    """Nothing is dropped: what fits no column is in _raw or _value, byte for byte."""
    create(MIXED, 1)
    producer = Producer({"bootstrap.servers": BROKERS})
    for key, value, headers in MIXED_VALUES:
        producer.produce(MIXED, value, key, headers=headers)
    equal(producer.flush(30), 0, "records left")
    exported(MIXED, len(MIXED_VALUES))
    found = rows(MIXED)
    equal([r["_offset"] for r in found], list(range(len(MIXED_VALUES))), "offsets")
    equal([r["_key"] for r in found], [key for key, _, _ in MIXED_VALUES], "keys")
    equal([(h["key"], h["value"]) for h in found[6]["_headers"]], MIXED_VALUES[6][2], "headers")
    equal((found[0]["n"], found[0]["s"], found[0]["_raw"]), (1.0, "x", None), "the first")
    equal((found[1]["n"], found[1]["s"]), (None, "y"), "columns of the one that does not fit")
    for row, (_, value, _) in zip(found, MIXED_VALUES, strict=True):
        fits = row["_offset"] in (0, 6)
        kept = [as_bytes(row.get(column)) for column in ("_raw", "_value")]
        if fits or value is None:
            equal(kept, [None, None], f"_raw and _value of {value}")
        else:
            equal(value in kept, True, f"{value} is kept, found {kept}")
    equal(found[6]["late"], {"deep": [True]}, "a column that appears late")
    equal(duck("select count(*), count(distinct _offset), count(n) from TABLE", MIXED),
          [(len(MIXED_VALUES), len(MIXED_VALUES), 1)], "by DuckDB")


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


checks = Checks("tables")
checks.check("publish the sample, export it in several files", publish)
checks.check("pyarrow: counts and distinct (partition, offset)", arrow_counts)
checks.check("pyarrow: every row equals its record", arrow_rows)
checks.check("pyarrow: types", arrow_types)
checks.check("pyarrow: field ids", arrow_field_ids)
checks.check("duckdb: counts, distinct, sums", duck_counts)
checks.check("duckdb: groups", duck_groups)
checks.check("duckdb: types", duck_types)
checks.check("duckdb: a pattern over the directory", duck_directory)
checks.check("the server's own SQL", server_sql)
checks.check("values that fit no column", mixed_rows)
checks.done()
