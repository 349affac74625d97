using Microsoft.Extensions.Logging;

namespace Yarnish.Executor;

/// <summary>The executor's log with the task in front of every line.</summary>
internal sealed class TaskLogger(ILogger inner, Attempt attempt) : ILogger
{
    /// <inheritdoc/>
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => inner.BeginScope(state);

    /// <inheritdoc/>
    public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

    /// <inheritdoc/>
    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        inner.Log(
            logLevel,
            eventId,
            state,
            exception,
            (s, e) => $"[stage {attempt.Batch.StageId}.{attempt.Batch.StageAttempt} partition {attempt.Task.Partition} attempt {attempt.Id}] {formatter(s, e)}");
}
