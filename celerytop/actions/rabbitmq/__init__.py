"""Actions on RabbitMQ. The only package beside sources.rabbitmq that speaks to it."""
