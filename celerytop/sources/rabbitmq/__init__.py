"""Looking at a cluster whose broker is RabbitMQ: pika for AMQP, urllib3 for the management API."""
