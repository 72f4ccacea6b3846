package driftline.bench;

import com.dynatrace.hash4j.hashing.HashValue128;
import com.dynatrace.hash4j.hashing.Hasher128;
import com.dynatrace.hash4j.hashing.Hashing;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams on the same hop, tuned: one stream thread, a record cache of 64 MiB, polls of 5,000 records, a
 * producer that lingers and compresses. See work.py for what is computed and when `started` and `done` are said.
 */
public final class KafkaStreamsPeer {
    private static final String STORE = "state";
    private static final String[] COMPARED = {"name", "price", "quantity", "status", "changed_at"};
    private static final char BETWEEN = '\u001f';

    private final long changes;
    private final CountDownLatch finished = new CountDownLatch(1);
    private long seen;

    private KafkaStreamsPeer(long changes) {
        this.changes = changes;
    }

    public static void main(String[] arguments) throws Exception {
        KafkaStreamsPeer peer = new KafkaStreamsPeer(Long.parseLong(arguments[2]));
        KafkaStreams streams = new KafkaStreams(peer.topology(arguments[1]), settings(arguments));
        streams.start();
        peer.finished.await();
        // Closing commits: the cache goes into the store and the changelog.
        streams.close();
        say("done");
        System.in.readAllBytes();
    }

    private static Properties settings(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L * 1024 * 1024);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 5_000);
        settings.put(StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), 4 * 1024 * 1024);
        settings.put(StreamsConfig.producerPrefix("linger.ms"), 20);
        settings.put(StreamsConfig.producerPrefix("batch.size"), 256 * 1024);
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        return settings;
    }

    private Topology topology(String topic) {
        return new Topology()
                .addSource(
                        "events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic)
                .addProcessor("fold", Fold::new, "events")
                .addStateStore(
                        Stores.keyValueStoreBuilder(
                                        Stores.persistentKeyValueStore(STORE), Serdes.Bytes(), Serdes.ByteArray())
                                .withCachingEnabled()
                                .withLoggingEnabled(Map.of()),
                        "fold");
    }

    private static void say(String word) {
        System.out.println(word);
        System.out.flush();
    }

    /** Keeps per key the entry with the highest LSN. */
    private final class Fold implements Processor<byte[], byte[], Void, Void> {
        private final ObjectMapper json = new ObjectMapper();
        private final Hasher128 hasher = Hashing.xxh3_128();
        private KeyValueStore<Bytes, byte[]> store;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            store = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (seen == 0) {
                say("started");
            }
            Bytes key = Bytes.wrap(record.key());
            byte[] entry = entry(record.value());
            byte[] held = store.get(key);
            if (held == null || Arrays.compareUnsigned(held, entry) < 0) {
                store.put(key, entry);
            }
            seen++;
            if (seen >= changes) {
                finished.countDown();
            }
        }

        private byte[] entry(byte[] value) {
            try {
                JsonNode event = json.readTree(value);
                JsonNode row = event.get("after");
                StringBuilder text = new StringBuilder(128);
                for (String column : COMPARED) {
                    if (!text.isEmpty()) {
                        text.append(BETWEEN);
                    }
                    text.append(row.get(column).asText());
                }
                byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
                HashValue128 digest = hasher.hashBytesTo128Bits(bytes);
                return ByteBuffer.allocate(24)
                        .putLong(event.get("source").get("lsn").asLong())
                        .putLong(digest.getMostSignificantBits())
                        .putLong(digest.getLeastSignificantBits())
                        .array();
            } catch (IOException fault) {
                throw new UncheckedIOException(fault);
            }
        }
    }
}
