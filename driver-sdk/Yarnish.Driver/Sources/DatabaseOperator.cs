using System.Data;
using System.Data.Common;
using System.Globalization;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>The rows of a query, each partition through a connection of its own, streamed.</summary>
internal sealed class DatabaseOperator<T>(Func<DbConnection> connect, string query, Func<DbDataReader, T> read, DatabasePart[] parts) : Operator<T>
{
    private readonly Func<DbConnection> connect = connect;
    private readonly string query = query;
    private readonly Func<DbDataReader, T> read = read;
    private readonly DatabasePart[] parts = parts;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        var part = parts[partition];
        var task = inputs.Task;
        using var connection = Run("connecting", part, connect) ?? throw new InvalidOperationException("ReadDatabase: the function that makes connections gave null.");
        using var command = Run("connecting", part, () =>
        {
            if (connection.State == ConnectionState.Closed)
            {
                connection.Open();
            }
            return Command(connection, part);
        });
        using var stop = task.Context.Cancellation.UnsafeRegister(static state => Cancel((DbCommand)state!), command);
        using var reader = Run("running the query", part, () => command.ExecuteReader(CommandBehavior.SequentialAccess | CommandBehavior.SingleResult));
        while (Run("reading", part, reader.Read))
        {
            task.Counters.InputRows++;
            yield return read(reader);
        }
        // A query that was cancelled may look like one that has ended.
        task.Context.Cancellation.ThrowIfCancellationRequested();
    }

    private DbCommand Command(DbConnection connection, DatabasePart part)
    {
        var command = connection.CreateCommand();
        // The user's own words, as what they are read as; the condition goes around them.
        command.CommandText = part.Condition.Length == 0 ? query : $"SELECT * FROM ({query}) yarnish_part WHERE {part.Condition}";
        // How long a query may take is for the job to say, which can be cancelled.
        command.CommandTimeout = 0;
        for (var i = 0; i < part.Values.Count; i++)
        {
            var parameter = command.CreateParameter();
            parameter.ParameterName = string.Create(CultureInfo.InvariantCulture, $"@yarnish{i}");
            parameter.DbType = DbType.DateTime;
            parameter.Value = part.Values[i];
            command.Parameters.Add(parameter);
        }
        return command;
    }

    private TResult Run<TResult>(string doing, DatabasePart part, Func<TResult> work)
    {
        try
        {
            return work();
        }
        catch (DbException error)
        {
            throw new IOException($"ReadDatabase failed {doing}: {error.Message} The query was: {query}{(part.Condition.Length == 0 ? "" : $", its part: {part.Condition}")}", error);
        }
    }

    private static void Cancel(DbCommand command)
    {
        try
        {
            command.Cancel();
        }
        catch (Exception error) when (error is DbException or InvalidOperationException or NotSupportedException)
        {
            // It ended meanwhile, or its provider cannot: the task stops at the next row.
        }
    }
}
