// Joins two files on the first field of their lines (fields end at white space), as the Unix tool join does: key<TAB>rest of left<TAB>rest of right.
//
//   dotnet run --project driver-sdk/examples/LogJoin -- LEFT RIGHT           prints the rows in order
//   dotnet run --project driver-sdk/examples/LogJoin -- LEFT RIGHT OUTPUT    writes them into the new directory OUTPUT

using Yarnish;

try
{
    await using var session = await YarnishSession.CreateBuilder(args).WithName("log-join").ConnectAsync();
    if (session.Arguments is not [var left, var right, ..] || session.Arguments.Count > 3)
    {
        Console.Error.WriteLine("usage: LogJoin LEFT RIGHT [OUTPUT]   (two text files; OUTPUT is a directory that does not exist yet)");
        return 2;
    }

    var joined = Fields(session.ReadText(left))
        .Join(Fields(session.ReadText(right)))
        .Select(static pair => $"{pair.Key}\t{pair.Value.Left}\t{pair.Value.Right}")
        .OrderBy(static line => line);

    if (session.Arguments is [_, _, var output])
    {
        await joined.SaveAsTextAsync(output);
        return 0;
    }
    foreach (var line in await joined.CollectAsync())
    {
        Console.WriteLine(line);
    }
    return 0;
}
catch (Exception error) when (error is YarnishException or IOException)
{
    Console.Error.WriteLine(error.Message);
    return error is YarnishException failure ? failure.ExitCode : 1;
}

static Rdd<KeyValuePair<string, string>> Fields(Rdd<string> lines) => lines
    .Select(static line => line.Trim())
    .Where(static line => line.Length > 0)
    .Select(static line => line.Split((char[]?)null, 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
    .Select(static fields => new KeyValuePair<string, string>(fields[0], fields.Length > 1 ? fields[1] : ""));
