// librdkafka comes as this module brings it: its header, and the library for linking, built by its makers. No line of Go is compiled.
module tidelog/interop/rdkafka

go 1.26.0

require github.com/confluentinc/confluent-kafka-go/v2 v2.11.1
