using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Xunit;

namespace Yarnish.Tests.House;

/// <summary>docs/collections.md lists every operator and action that collections have, and no other.</summary>
public sealed partial class CollectionsPageTests
{
    [Fact]
    public void The_page_of_collections_lists_every_operator()
    {
        var operators = typeof(YarnishSession).Assembly.GetExportedTypes()
            .Where(type => type.Name.StartsWith("Rdd", StringComparison.Ordinal) || type.Name.StartsWith("OrderedRdd", StringComparison.Ordinal))
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
            .Where(method => !method.IsSpecialName)
            .Select(method => method.Name)
            .ToHashSet();

        var listed = File.ReadLines(Path.Combine(Path.GetDirectoryName(Here())!, "..", "..", "..", "docs", "collections.md"))
            .Where(line => line.StartsWith("| `", StringComparison.Ordinal))
            .SelectMany(line => Name().Matches(line.Split('|')[1]).Select(match => match.Groups[1].Value))
            .ToHashSet();

        Assert.Empty(operators.Except(listed).Order());
        Assert.Empty(listed.Except(operators).Order());
    }

    [GeneratedRegex("`([A-Za-z]+)`")]
    private static partial Regex Name();

    private static string Here([CallerFilePath] string path = "") => path;
}
